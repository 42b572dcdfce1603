#pragma once
/// A trainable method as a bank of K adapters: its parameters, its answers at the sockets, and its files. One file per method in
/// src/methods; the trainer, checkpoints, evaluation and export never name one.

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "peft/base/registry.h"
#include "peft/base/rng.h"
#include "peft/methods/adapter.h"
#include "peft/methods/config.h"
#include "peft/methods/released.h"
#include "peft/methods/sign.h"
#include "peft/models/sockets.h"
#include "peft/models/transformer.h"
#include "peft/text/tokenizer.h"

namespace peft {

/// automatic: where the trainer finds it worthwhile.
enum class FeatureCaching { never, automatic, always };

/// A trainable tensor of the bank.
struct Parameter {
  std::string name;
  at::Tensor value;               ///< [K, ...], a leaf
  std::string group = "adapter";  ///< learning-rate group: one of kRateGroups
  bool decays = true;             ///< weight decay applies: false for tensors that are 1-D without their K
};

/// What a bank is made for.
struct BankSpec {
  std::vector<const MethodConfig*> configs;  ///< [K], equal but for what docs/methods.md#the-bank lets differ
  std::vector<uint64_t> seeds;               ///< [K], of initial values
  int64_t outputs = 0;                       ///< of the task: rows of a trained head; 0: there is none
  int64_t max_length = 0;                    ///< of the task, for tables that depend on it
  const Tokenizer* tokenizer = nullptr;      ///< for initial text
  at::ScalarType dtype = at::kFloat;         ///< of parameters; float64 in tests
  std::function<AdapterFiles(const std::string&)> read_folder = {};  ///< of a run or adapter folder that a config names
  bool from_files = false;  ///< the values will be loaded: limits that only a fresh start needs do not hold
  int64_t adapters() const { return static_cast<int64_t>(configs.size()); }
};

class Method : public Sockets {
 public:
  /// `model` outlives the method. Full fine-tuning trains the model's own tensors and is the one that changes it.
  Method(Transformer& model, const BankSpec& bank);

  std::vector<Parameter>& parameters() { return parameters_; }
  const std::vector<Parameter>& parameters() const { return parameters_; }
  const Parameter& parameter(const std::string& name) const;
  int64_t adapters() const { return adapters_; }
  const std::string& type() const { return bank_.configs.at(0)->type; }
  int64_t trainable_parameters() const;                 ///< of one adapter
  virtual int64_t virtual_tokens() const { return 0; }  ///< positions that the method takes from the text

  /// Whether a text's pooled row may be computed once, because the method trains nothing below the head.
  virtual FeatureCaching feature_caching() const { return FeatureCaching::never; }

  /// Once before each step (training) or evaluation: forms what a pass shares and names the dropout streams.
  virtual void begin_pass(const DropoutContext& context) { context_ = &context; }

  /// Once after the last pass of an evaluation: warns where it has to; an object of facts for the log.
  virtual Json end_evaluation() { return Json::object(); }

  /// What the doctor should know of adapter k's values. `probe`: a few texts of that adapter. Without gradients and dropout; ends a pass
  /// that has begun.
  virtual Signs measure(int64_t /*k*/, const ModelInput& /*probe*/) { return {}; }

  const TrainedLinear* trained_module(const std::string& module) override;

  /// Adapter k in peft's layout where peft knows the method (docs/formats.md#adapter-folders).
  virtual AdapterFiles fold(int64_t k) const = 0;
  /// The inverse: values of adapter k from files of the same shapes. Throws DataError. `head` false leaves the trained modules alone.
  virtual void load(int64_t k, const AdapterFiles& files, bool head) = 0;
  /// Whether load() has used a tensor of its files that fold() does not write.
  virtual bool has_read(const std::string& /*tensor*/) const { return false; }
  /// Entries of adapter_config.json that mean nothing in this network, each with its key and the reason, for a warning.
  virtual std::vector<std::string> idle_entries(const AdapterFiles& /*files*/) const { return {}; }
  /// True when fold() leaves out trained values (a reparameterisation network): the run folder then keeps trained.safetensors beside
  /// the folded files, and only that can be trained on.
  virtual bool stores_trained_values() const { return false; }
  /// Whether load() understands the files of an adapter recognised as `source`: training may start from it.
  virtual bool starts_from(const MethodConfig& source) const { return source.type == type(); }
  /// Every trainable tensor of adapter k under its own name, and the inverse. Throws DataError naming `origin`.
  std::map<std::string, at::Tensor> trained_tensors(int64_t k) const;
  void load_trained(int64_t k, const std::map<std::string, at::Tensor>& tensors, const std::string& origin, bool head);
  /// The whole network with adapter k folded into its weights and its trained head in place, by Hugging Face's names. Throws ConfigError
  /// where a method does not change weights.
  std::map<std::string, at::Tensor> merged(int64_t k) const;
  bool writes_model_folder() const { return bank_.configs.at(0)->writes_model_folder(); }

 protected:
  /// Writes the initial values of adapter k in row-major order; the memory is zero before.
  using Fill = std::function<void(int64_t k, std::span<float> values)>;
  /// Adds a parameter [K, shape...].
  at::Tensor add_parameter(const std::string& name, std::vector<int64_t> shape, const std::string& group,
                           const Fill& fill);
  void add_leaf(Parameter parameter) { parameters_.push_back(std::move(parameter)); }
  RngStream init_stream(int64_t k, const std::string& name) const;
  /// The same without a gradient and outside parameters(): a constant of the bank.
  at::Tensor make_bank(std::vector<int64_t> shape, const Fill& fill) const;

  /// Throws ConfigError when so many virtual tokens leave no position for a text: before their tables take memory.
  void check_positions(int64_t num_virtual_tokens) const;

  /// Modules of the head that train: the architecture's and those that modules_to_save names; none when that is an empty list.
  std::vector<std::string> trained_modules() const;
  /// Banks of these: parameters "<module>.weight" [K,N,C] and ".bias" [K,N], starting from the checkpoint's own where its shape fits,
  /// else N(0, init_std^2) (null: initializer_range) and zero. The layer that gives the labels is stored with the adapter even when it
  /// does not train; `fill_missing`: so are layers that the checkpoint lacks, with a warning.
  void add_trained_head(std::optional<double> init_std = std::nullopt, bool fill_missing = false);
  /// The heads as files hold them: "<prefix><module>.weight" and ".bias".
  void fold_head(int64_t k, const std::string& prefix, AdapterFiles& files) const;
  void load_head(int64_t k, const std::string& prefix, const AdapterFiles& files);
  /// Keys common to all adapter_config.json files.
  Json base_config(const std::string& peft_type) const;
  /// Folds adapter k into the network's tensors, for merged().
  virtual void merge_into(int64_t k, std::map<std::string, at::Tensor>& tensors) const;
  /// A copy of a tensor of the files into slice k of a bank, with shape check.
  static void load_slice(const at::Tensor& bank, int64_t k, const AdapterFiles& files, const std::string& tensor,
                         bool transposed = false);

  Transformer& model_;
  const BankSpec bank_;
  const DropoutContext* context_ = nullptr;

 private:
  const std::vector<HeadLayer>& head_layers() const { return head() != nullptr ? *head() : model_.spec().head(); }
  std::vector<std::string> saved_modules() const;

  int64_t adapters_;
  std::vector<Parameter> parameters_;
  std::map<std::string, TrainedLinear> trained_;
};

struct MethodEntry {
  std::function<std::unique_ptr<MethodConfig>()> config;
  std::function<std::unique_ptr<Method>(Transformer&, const BankSpec&)> make;
  /// A config that reproduces an adapter folder, or nullptr when the files are of another method.
  std::function<std::unique_ptr<MethodConfig>(const AdapterFiles&)> recognise;
  /// An adapter folder's files from those that the method's authors released, or nothing when they are of another method.
  std::function<std::optional<AdapterFiles>(const ReleasedFiles&)> import_released = {};
  std::vector<std::string> released_tensors = {};  ///< which of them it reads, by the last parts of their names
};

Registry<MethodEntry>& methods();

/// Makes the bank.
std::unique_ptr<Method> make_method(Transformer& model, const BankSpec& bank);

/// The config for an adapter folder's files. Throws DataError when no method knows its peft_type.
std::unique_ptr<MethodConfig> recognise_adapter(const AdapterFiles& files);

/// The same for files that a method's authors released. Throws DataError when they are of no method.
bool is_released_tensor(const std::string& last_part);
AdapterFiles import_released(const ReleasedFiles& released);

}  // namespace peft
