#include "src/apps/model_session.h"

#include <ATen/Context.h>

#include <algorithm>

#include "peft/base/error.h"

namespace peft {
namespace {

/// No adapter at all: every socket stays silent and the head is the checkpoint's.
class BareModel : public Method {
 public:
  explicit BareModel(Transformer& model) : Method(model, {.configs = {nullptr}, .seeds = {0}}) {}
  AdapterFiles fold(int64_t) const override { return {}; }
  void load(int64_t, const AdapterFiles&, bool) override {}
};

at::Device choose_device(const std::string& name) {
  const bool available = at::hasCUDA();
  if (name == "cuda" && !available)
    throw ConfigError("--device cuda: this build or machine has no GPU; configure with -DPEFT_CUDA=ON, or use cpu");
  return name == "cuda" || (name == "auto" && available) ? at::kCUDA : at::kCPU;
}

/// Rows of the checkpoint's own head.
int64_t own_outputs(const Transformer& model) {
  for (const HeadLayer& layer : model.spec().head) {
    const Linear* map = model.head_linear(layer.module);
    if (map == nullptr) {
      throw_error<DataError>(
          "{}: tensor {}.weight is missing: architecture {} has no classification head, and no adapter brings one",
          model.folder().string(), layer.module,
          model.spec().architecture.empty() ? "(unnamed)" : model.spec().architecture);
    }
    if (layer.to_labels) return map->out_features();
  }
  return 0;
}

}  // namespace

ModelSession::ModelSession(const std::filesystem::path& model, const std::optional<std::filesystem::path>& adapter,
                           const std::string& dtype, const std::string& device)
    : model_(Transformer::load(model, dtype, choose_device(device))) {
  tokenizer_ = Tokenizer::load(model);
  if (tokenizer_->size() > model_.spec().embedding().vocabulary) {
    throw_error<DataError>(
        "{}: the tokenizer has ids up to {}, the model only {} word vectors (config.json: vocab_size)", model.string(),
        tokenizer_->size() - 1, model_.spec().embedding().vocabulary);
  }
  if (adapter) {
    LoadedAdapter loaded = load_adapter(model_, *adapter, tokenizer_.get());
    config_ = std::move(loaded.config);
    method_ = std::move(loaded.method);
    outputs_ = loaded.outputs;
  } else {
    method_ = std::make_unique<BareModel>(model_);
    outputs_ = own_outputs(model_);
  }
  if (longest_text() < 1) {
    throw_error<DataError>("{}: {} virtual tokens leave no room for text in the {} positions of {}", adapter->string(),
                           method_->virtual_tokens(), model_.spec().embedding().usable_positions(), model.string());
  }
}

int64_t ModelSession::longest_text() const {
  return model_.spec().embedding().usable_positions() - method_->virtual_tokens();
}

void ModelSession::check_rows(const EncodedSplit& split) const {
  const EmbeddingSpec& embedding = model_.spec().embedding();
  for (int64_t e = 0; e < split.size(); ++e) {
    for (int64_t s = split.first_sequence(e); s < split.first_sequence(e) + split.sequences(e); ++s)
      if (split.sequence_length(s) == 0)
        throw_error<DataError>("{}: row {} has no tokens", split.statistics.files.front(), e);
  }
  const auto highest = std::max_element(split.types.begin(), split.types.end());
  if (!embedding.token_type.empty() && highest != split.types.end() && *highest >= embedding.token_types) {
    throw_error<DataError>(
        "{}: the tokenizer gives token type {}, the model has only {} (config.json: type_vocab_size)",
        model_.folder().string(), *highest, embedding.token_types);
  }
}

}  // namespace peft
