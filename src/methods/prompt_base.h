#pragma once
/// What prompt, dept and adept share: P trainable rows in front of the text. Private to src/methods.

#include "peft/methods/method.h"
#include "src/methods/prompt_rows.h"

namespace peft {

/// The text that DePT and ADePT start every task's rows from. Their released code has a typo in it.
inline std::string dept_init_text(const std::string& compat) {
  return compat == "code" ? "Classify this text is postive or not:" : "Classify this text is positive or not:";
}

struct VirtualRowsConfig : MethodConfig {
  int64_t num_virtual_tokens = 20;
  std::string prompt_tuning_init = "SAMPLE_VOCAB", pooling = "first";
  std::optional<std::string> prompt_tuning_init_text;
  double prompt_dropout = 0.0;
  void visit(Fields& fields) override;
  void validate() const override;
};

/// Owns the parameter `prompt`: [K,P,C], or [K,layers,P,C]. Adapters of a bank may differ in initial text and dropout.
class VirtualRows : public Method {
 public:
  int64_t virtual_tokens() const override { return rows_config_.num_virtual_tokens; }
  Pool pool(Pool own) const override { return pool_with_rows(own, rows_config_.pooling); }
  Signs measure(int64_t k, const ModelInput& probe) override;

 protected:
  VirtualRows(Transformer& model, const BankSpec& bank);
  at::Tensor add_prompt(std::vector<int64_t> shape);

  /// The rows in front of `x_TC` (undefined: word embeddings).
  Embedded in_front(const at::Tensor& bank_KPC, const Batch& rows, at::Tensor x_TC = {}) const;
  /// The rows in the place of the first P rows, before layer `layer`.
  at::Tensor in_place(const at::Tensor& bank_KPC, const at::Tensor& x_TC, const Batch& rows, int64_t layer) const;

 private:
  DropoutSite site(const std::string& name) const { return {context_, name, rates_}; }

  const VirtualRowsConfig& rows_config_;
  std::vector<double> rates_;  // [K], of prompt_dropout
};

/// One number of each adapter's config.
template <class Config, class T>
std::vector<T> rates_of(const BankSpec& bank, T Config::*rate) {
  std::vector<T> rates;
  for (const MethodConfig* each : bank.configs) rates.push_back(dynamic_cast<const Config&>(*each).*rate);
  return rates;
}

/// Throws DataError when a tensor of the files is missing or does not have the shape that adapter_config.json announces; a size of -1 is
/// not known there.
void check_announced(const AdapterFiles& files, const std::string& tensor, const std::vector<int64_t>& shape);

/// Files released by the authors of dept and adept, under their code's names: the tensors of both, and the keys that both types have.
bool is_low_rank_release(const ReleasedFiles& released);
Json released_config(const ReleasedFiles& released, const char* peft_type, int64_t rank);

}  // namespace peft
