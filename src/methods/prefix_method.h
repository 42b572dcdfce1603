#pragma once
/// The method behind `prefix` and its preset `p_tuning_v2`. Private to src/methods.

#include "peft/methods/method.h"
#include "src/methods/prefix_config.h"
#include "src/methods/prefix_tensors.h"

namespace peft {

class PrefixMethod : public Method {
 public:
  PrefixMethod(Transformer& model, const BankSpec& bank);

  int64_t virtual_tokens() const override { return config_.shifts_positions() ? config_.num_virtual_tokens : 0; }
  int64_t first_position() const override { return virtual_tokens(); }

  void begin_pass(const DropoutContext& context) override;
  Embedded embed(const at::Tensor& ids_T, const Batch& rows) override;
  PrefixKV prefix(const Attention& site) override { return pairs_.at(site.number); }

  Signs measure(int64_t k, const ModelInput& probe) override;

  AdapterFiles fold(int64_t k) const override;
  void load(int64_t k, const AdapterFiles& files, bool head) override;
  bool stores_trained_values() const override { return config_.sharing != "none" || config_.through(); }
  bool starts_from(const MethodConfig& source) const override { return source.type == "prefix"; }

 private:
  std::vector<int64_t> layers() const;  ///< of the sites
  void add_tensors();
  at::Tensor add_table(const std::string& name, bool per_layer, int64_t width, int64_t slot, int64_t slot_step);
  BankLinear add_map(const std::string& name, int64_t in, int64_t out, bool last);
  std::vector<at::Tensor> text_slots(int64_t k) const;
  bool masks_per_sequence() const;
  /// What dropout acts on: the vectors themselves (simple), else each layer's key and then its value.     each [K,P,X or Y]
  std::vector<at::Tensor> masked_slots(const PrefixTensors& tensors) const;
  /// The vectors as keys and values, through the layer's frozen maps where they pass there.     each [N,P,X] -> [N,P,Y]
  std::vector<at::Tensor> keys_and_values(const std::vector<at::Tensor>& slots) const;
  /// Keys and values of every site from such slots of K adapters or B sequences.     -> pairs of [N,P,G,D]
  std::vector<PrefixKV> pairs_of(const std::vector<at::Tensor>& slots) const;

  const PrefixConfig& config_;
  std::vector<const Attention*> sites_;        // with a prefix
  int64_t key_width_, width_;                  // Y, and X: of the trained vectors
  std::vector<double> rates_;                  // [K], of prefix_dropout
  std::vector<std::vector<at::Tensor>> text_;  // [K] slots, while initial values are drawn
  PrefixTensors tensors_;
  std::vector<at::Tensor> slots_;  // of the current pass
  std::vector<PrefixKV> pairs_;    // of the current pass, or of its current batch; by Attention::number
};

/// A config that reproduces a PREFIX_TUNING folder, or nullptr.
std::unique_ptr<MethodConfig> recognise_prefix(const AdapterFiles& files);
std::optional<AdapterFiles> import_prefix(const ReleasedFiles& released);

}  // namespace peft
