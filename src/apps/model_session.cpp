#include "src/apps/model_session.h"

#include <algorithm>

#include "peft/base/error.h"
#include "peft/interop/labels.h"

namespace peft {
namespace {

/// No adapter at all: every socket stays silent and the head is the checkpoint's.
class BareModel : public Method {
 public:
  explicit BareModel(Transformer& model) : Method(model, {.configs = {nullptr}, .seeds = {0}}) {}
  AdapterFiles fold(int64_t) const override { return {}; }
  void load(int64_t, const AdapterFiles&, bool) override {}
};

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
    : open_(open_model({.path = model.string(), .dtype = dtype}, choose_device(device, "--device"))) {
  if (adapter) {
    LoadedAdapter loaded = load_adapter(open_.model, *adapter, open_.tokenizer.get());
    config_ = std::move(loaded.config);
    method_ = std::move(loaded.method);
    outputs_ = loaded.outputs;
    labels_ = loaded.labels;
    origin_ = find_adapter(*adapter).string();
    // What answers is the checkpoint's own head.
    if (labels_.empty() && labels_layer(this->model(), *method_) == nullptr) labels_ = model_labels(model, outputs_);
  } else {
    method_ = std::make_unique<BareModel>(open_.model);
    outputs_ = own_outputs(open_.model);
    labels_ = model_labels(model, outputs_);
    origin_ = model.string();
  }
  if (longest_text() < 1) {
    throw_error<DataError>("{}: {} virtual tokens leave no room for text in the {} positions of {}", adapter->string(),
                           method_->virtual_tokens(), this->model().spec().embedding().usable_positions(),
                           model.string());
  }
}

void ModelSession::order_labels(const std::vector<std::string>& labels) {
  if (labels_layer(model(), *method_) != nullptr) {
    peft::order_labels(model(), *method_, 0, labels_, labels, origin_);
  } else {
    peft::order_labels(open_.model, labels_, labels, origin_);
  }
  if (!labels.empty()) labels_ = labels;
}

int64_t ModelSession::longest_text() const {
  return model().spec().embedding().usable_positions() - method_->virtual_tokens();
}

void ModelSession::check_rows(const EncodedSplit& split) const {
  const EmbeddingSpec& embedding = model().spec().embedding();
  for (int64_t e = 0; e < split.size(); ++e) {
    for (int64_t s = split.first_sequence(e); s < split.first_sequence(e) + split.sequences(e); ++s)
      if (split.sequence_length(s) == 0)
        throw_error<DataError>("{}: row {} has no tokens", split.statistics.files.front(), e);
  }
  const auto highest = std::max_element(split.types.begin(), split.types.end());
  if (!embedding.token_type.empty() && highest != split.types.end() && *highest >= embedding.token_types) {
    throw_error<DataError>(
        "{}: the tokenizer gives token type {}, the model has only {} (config.json: type_vocab_size)",
        model().folder().string(), *highest, embedding.token_types);
  }
}

}  // namespace peft
