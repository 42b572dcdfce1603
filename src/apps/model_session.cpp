#include "src/apps/model_session.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "peft/base/cores.h"
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
  for (const HeadLayer& layer : model.spec().head()) {
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

LoadedAdapter bare_model(Transformer& model) {
  LoadedAdapter bare;
  bare.method = std::make_unique<BareModel>(model);
  bare.head = model.spec().head_kind;
  bare.outputs = own_outputs(model);
  bare.labels = model_labels(model.folder(), bare.outputs);
  return bare;
}

ModelSession::ModelSession(const std::filesystem::path& model, const std::optional<std::filesystem::path>& adapter,
                           const std::string& dtype, const std::string& device)
    : open_(open_model({.path = model.string(), .dtype = dtype}, choose_device(device, "--device"))) {
  at::set_num_threads(default_threads());
  loaded_ = adapter ? load_adapter(open_.model, *adapter, open_.tokenizer.get()) : bare_model(open_.model);
  check_room(open_.model, *loaded_.method, adapter.value_or(model));
  origin_ = adapter ? find_adapter(*adapter).string() : model.string();
}

void ModelSession::order_labels(const std::vector<std::string>& labels) {
  if (labels_layer(model(), method()) != nullptr) {
    peft::order_labels(model(), method(), 0, loaded_.labels, labels, origin_);
  } else {
    peft::order_labels(open_.model, loaded_.labels, labels, origin_);
  }
  if (!labels.empty()) loaded_.labels = labels;
}

void ModelSession::check_rows(const EncodedSplit& split) const {
  for (int64_t e = 0; e < split.size(); ++e) {
    for (int64_t s = split.first_sequence(e); s < split.first_sequence(e) + split.sequences(e); ++s)
      if (split.sequence_length(s) == 0)
        throw_error<DataError>("{}: row {} has no tokens", split.statistics.files.front(), e);
  }
  check_types(model(), split);
}

int64_t longest_text(const Transformer& model, const Method& method) {
  return model.spec().embedding().usable_positions() - method.virtual_tokens();
}

void check_room(const Transformer& model, const Method& method, const std::filesystem::path& adapter) {
  if (longest_text(model, method) >= 1) return;
  throw_error<DataError>("{}: {} virtual tokens leave no room for text in the {} positions of {}", adapter.string(),
                         method.virtual_tokens(), model.spec().embedding().usable_positions(), model.folder().string());
}

void check_types(const Transformer& model, const EncodedSplit& split) {
  const EmbeddingSpec& embedding = model.spec().embedding();
  const auto highest = std::max_element(split.types.begin(), split.types.end());
  if (!embedding.token_type.empty() && highest != split.types.end() && *highest >= embedding.token_types) {
    throw_error<DataError>(
        "{}: the tokenizer gives token type {}, the model has only {} (config.json: type_vocab_size)",
        model.folder().string(), *highest, embedding.token_types);
  }
}

}  // namespace peft
