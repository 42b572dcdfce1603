#include "src/apps/model_session.h"

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

/// Names in the folder's config.json; nothing where transformers made them up.
std::vector<std::string> own_labels(const Transformer& model, int64_t outputs) {
  const Json config = read_json_file<DataError>(model.folder() / "config.json");
  const Json names = config.value("id2label", Json::object());
  std::vector<std::string> labels;
  bool made_up = true;
  for (int64_t i = 0; i < outputs; ++i) {
    const auto name = names.find(std::to_string(i));
    if (name == names.end() || !name->is_string()) return {};
    labels.push_back(name->get<std::string>());
    made_up = made_up && labels.back() == fmt::format("LABEL_{}", i);
  }
  return made_up ? std::vector<std::string>() : labels;
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
  } else {
    method_ = std::make_unique<BareModel>(open_.model);
    outputs_ = own_outputs(open_.model);
    labels_ = own_labels(open_.model, outputs_);
  }
  if (longest_text() < 1) {
    throw_error<DataError>("{}: {} virtual tokens leave no room for text in the {} positions of {}", adapter->string(),
                           method_->virtual_tokens(), this->model().spec().embedding().usable_positions(),
                           model.string());
  }
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
