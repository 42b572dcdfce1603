/// P trainable rows in front of the text and one small network on all its word embeddings.     [Tang et al. 2025, arXiv:2501.03291]
///
///   x_t = e_t + s ( relu( drop(e_t W1_k + b1_k) ) W2_k + b2_k );   X'_b = [ p_k ; x_b ]
///
/// prompt [K,P,C], W1 [K,C,R] ~ U(-1/sqrt(R), 1/sqrt(R)), b1 [K,R], W2 [K,R,C], b2 [K,C] = 0, so a fresh adapter equals prompt. Equal
/// ids get equal offsets, so an evaluation reads them from a table e'(v) of the whole vocabulary, made once (`fold`).
/// Trainable numbers: P C + 2 C R + R + C. The file (ours): prompt_embeddings [P,C], adept_W1 [C,R], adept_b1, adept_W2 [R,C], adept_b2.
/// Throws ConfigError when r > C, and for a key that needs a decoder-only model.

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "peft/base/error.h"
#include "peft/base/summaries.h"
#include "peft/kernels/grouped_matmul.h"
#include "src/methods/prompt_base.h"
#include "src/methods/prompt_rows.h"

namespace peft {
namespace {

/// Largest table that fold "auto" makes: 30,522 words of width 768 take 94 MB, 128,256 of width 3,072 1.6 GB.
constexpr int64_t kTableBytes = int64_t{512} << 20;
constexpr int64_t kTableChunk = 4096;  // words at a time: what a batch of an evaluation holds

struct AdeptConfig : VirtualRowsConfig {
  int64_t r = 19;
  std::optional<double> offset_dropout;
  double offset_scaling = 1.0;
  std::string fold = "auto";
  std::optional<int64_t> max_length;
  std::optional<bool> left_pad_positions;

  AdeptConfig() {
    num_virtual_tokens = 60;
    prompt_tuning_init = "TEXT";
  }
  std::unique_ptr<MethodConfig> clone() const override { return std::make_unique<AdeptConfig>(*this); }
  double learning_rate() const override { return 1e-2; }
  std::map<std::string, double> learning_rates() const override { return {{"offset", 1e-3}}; }
  void visit(Fields& fields) override {
    VirtualRowsConfig::visit(fields);
    fields.field("r", r, {.help = "width of the network", .min = 1});
    fields.field("offset_dropout", offset_dropout,
                 {.help = "dropout in front of the network's relu; absent: 0, or 0.1 with compat \"code\"",
                  .min = 0,
                  .max = 1,
                  .max_exclusive = true,
                  .per_job = true});
    fields.field("offset_scaling", offset_scaling, {.help = "factor of the network's output"});
    fields.field("fold", fold,
                 {.help = "evaluation through a table of the whole vocabulary: where it fits, always, never",
                  .choices = {"auto", "table", "none"}});
    fields.field("max_length", max_length, {.help = "S of left_pad_positions; absent: task.max_length", .min = 1});
    fields.field("left_pad_positions", left_pad_positions,
                 {.help = "decoder-only: text positions start at P + S - n; absent: as compat says"});
  }
  void resolve() override {
    if (!prompt_tuning_init_text) prompt_tuning_init_text = dept_init_text(compat);
    if (!offset_dropout) offset_dropout = compat == "code" ? 0.1 : 0.0;
  }
};

class Adept : public VirtualRows {
 public:
  Adept(Transformer& model, const BankSpec& bank)
      : VirtualRows(model, bank), config_(dynamic_cast<const AdeptConfig&>(*bank.configs.at(0))) {
    for (const auto& rate : rates_of(bank, &AdeptConfig::offset_dropout)) rates_.push_back(rate.value_or(0.0));
    const int64_t width = model.spec().first().width, rank = config_.r;
    if (config_.left_pad_positions.value_or(config_.compat == "code" && decoder_only(model.spec()))) {
      throw_error<ConfigError>("method.left_pad_positions: true needs a decoder-only model, found {}",
                               model.spec().model_type);
    }
    if (rank > width && !bank.from_files)
      throw_error<ConfigError>("method.r: found {}, expected 1 to {}, the model's width", rank, width);
    const auto zero = [](int64_t, std::span<float>) {};
    prompt_KPC_ = add_prompt({config_.num_virtual_tokens, width});
    w1_KCR_ = add_parameter("adept_W1", {width, rank}, "offset", [&](int64_t k, std::span<float> values) {
      const float bound = 1.0F / std::sqrt(static_cast<float>(rank));
      init_stream(k, "adept_W1").fill_uniform(values, -bound, bound);
    });
    b1_KR_ = add_parameter("adept_b1", {rank}, "offset", zero);
    w2_KRC_ = add_parameter("adept_W2", {rank, width}, "offset", zero);
    b2_KC_ = add_parameter("adept_b2", {width}, "offset", zero);
    add_trained_head();
  }

  Embedded embed(const at::Tensor& ids_T, const Batch& rows) override {
    const int64_t only = only_adapter(*rows);
    // A table has no gradient, and masks differ between tokens of one id.
    const bool through_table = !context_->training && !at::GradMode::is_enabled() && only >= 0 && folds_table();
    if (!through_table) table_VC_.reset();
    return in_front(
        prompt_KPC_, rows,
        through_table ? table(only).index_select(0, ids_T) : shifted(model_.words(ids_T), rows, rows->group_rows()));
  }

  AdapterFiles fold(int64_t k) const override {
    AdapterFiles files;
    files.config = base_config("ADEPT");
    files.config.update({{"library", "peft.cpp"},
                         {"format_version", 1},
                         {"num_virtual_tokens", config_.num_virtual_tokens},
                         {"token_dim", model_.spec().first().width},
                         {"r", config_.r},
                         {"offset_scaling", config_.offset_scaling},
                         {"max_length", config_.max_length.value_or(bank_.max_length)},
                         {"left_pad_positions", false},
                         {"pooling", config_.pooling}});
    for (const auto& [name, bank] : tensors()) files.tensors[name] = bank.detach()[k];
    fold_head(k, kPromptPrefix, files);
    return files;
  }

  void load(int64_t k, const AdapterFiles& files, bool head) override {
    for (const auto& [name, bank] : tensors()) load_slice(bank, k, files, name);
    if (head) load_head(k, kPromptPrefix, files);
  }

 private:
  std::vector<std::pair<std::string, at::Tensor>> tensors() const {
    return {{"prompt_embeddings", prompt_KPC_},
            {"adept_W1", w1_KCR_},
            {"adept_b1", b1_KR_},
            {"adept_W2", w2_KRC_},
            {"adept_b2", b2_KC_}};
  }

  bool folds_table() const {
    const at::Tensor& words = model_.word_table();
    return config_.fold == "table" || (config_.fold == "auto" && static_cast<int64_t>(words.nbytes()) <= kTableBytes);
  }

  /// The adapter that all sequences use, or -1.
  static int64_t only_adapter(const PackedBatch& rows) {
    if (rows.sequences() == 0) return -1;
    const int64_t first = rows.adapter(0);
    return rows.adapter(rows.sequences() - 1) == first ? first : -1;  // sorted
  }

  /// Word embeddings with their offsets, in their own type. `rows` names the dropout masks.
  at::Tensor shifted(const at::Tensor& x_TC, const Batch& rows, const std::vector<int64_t>& groups) const {
    const at::Tensor e_TC = x_TC.to(w1_KCR_.scalar_type());
    at::Tensor h_TR = grouped_matmul(e_TC, w1_KCR_, groups) + grouped_rows(b1_KR_, groups);
    if (rows) h_TR = dropout(h_TR, {context_, "offset_dropout", rates_}, rows);
    const at::Tensor offset_TC = grouped_matmul(at::relu(h_TR), w2_KRC_, groups) + grouped_rows(b2_KC_, groups);
    return (e_TC + offset_TC * config_.offset_scaling).to(x_TC.scalar_type());
  }

  /// e'(v) of adapter k, kept as long as the network's values are the same.     [V, C]
  const at::Tensor& table(int64_t k) {
    const std::vector<at::Tensor> network{w1_KCR_[k], b1_KR_[k], w2_KRC_[k], b2_KC_[k]};
    const bool current =
        table_VC_.defined() && std::equal(network.begin(), network.end(), table_of_.begin(),
                                          [](const at::Tensor& a, const at::Tensor& b) { return at::equal(a, b); });
    if (current) return table_VC_;
    table_of_.clear();
    for (const at::Tensor& tensor : network) table_of_.push_back(tensor.clone());
    table_VC_ = at::empty_like(model_.word_table());
    for (int64_t first = 0; first < table_VC_.size(0); first += kTableChunk) {
      const int64_t count = std::min(kTableChunk, table_VC_.size(0) - first);
      std::vector<int64_t> groups(adapters() + 1, 0);
      const auto options = at::TensorOptions(model_.device()).dtype(at::kLong);
      std::fill(groups.begin() + k + 1, groups.end(), count);
      table_VC_.narrow(0, first, count)
          .copy_(shifted(model_.words(at::arange(first, first + count, options)), nullptr, groups));
    }
    return table_VC_;
  }

  const AdeptConfig& config_;
  std::vector<double> rates_;  // [K], of offset_dropout
  at::Tensor prompt_KPC_, w1_KCR_, b1_KR_, w2_KRC_, b2_KC_;
  at::Tensor table_VC_;  // of the network table_of_
  std::vector<at::Tensor> table_of_;
};

std::unique_ptr<MethodConfig> recognise_adept(const AdapterFiles& files) {
  if (files.config.value("peft_type", "") != "ADEPT") return nullptr;
  auto config = std::make_unique<AdeptConfig>();
  files.read("num_virtual_tokens", config->num_virtual_tokens);
  files.read("r", config->r);
  files.read("offset_scaling", config->offset_scaling);
  files.read("pooling", config->pooling);
  config->left_pad_positions = false;
  files.read("left_pad_positions", *config->left_pad_positions);
  if (int64_t length = 0; files.read("max_length", length), length > 0) config->max_length = length;
  config->resolve();
  check_prompt_rows(files, config->num_virtual_tokens);
  check_announced(files, "adept_W1", {-1, config->r});
  check_announced(files, "adept_W2", {config->r, -1});
  return config;
}

/// lora_embedding_A [C,R], _a [R], _B [R,C], _b [C]: the network; its code never uses lora_alpha.
std::optional<AdapterFiles> import_adept(const ReleasedFiles& released) {
  const bool network = released.tensors.contains("lora_embedding_a") || released.tensors.contains("lora_embedding_b");
  if (!is_low_rank_release(released) || !network) return std::nullopt;
  AdapterFiles files = released.files;
  int64_t length = 0;
  files.read("max_length", length);
  const at::Tensor& w1 = released.required("lora_embedding_A", 2);
  files.config = released_config(released, "ADEPT", w1.size(1));
  files.config.update({{"max_length", length}, {"offset_scaling", 1.0}});
  files.tensors["prompt_embeddings"] = released.required("prompt_embeddings", 2);
  files.tensors["adept_W1"] = w1;
  files.tensors["adept_b1"] = released.required("lora_embedding_a", 1);
  files.tensors["adept_W2"] = released.required("lora_embedding_B", 2);
  files.tensors["adept_b2"] = released.required("lora_embedding_b", 1);
  return files;
}

const bool adept_registered = methods().add(
    "adept", {[] { return std::make_unique<AdeptConfig>(); },
              [](Transformer& model, const BankSpec& bank) { return std::make_unique<Adept>(model, bank); },
              recognise_adept,
              import_adept,
              {"prompt_embeddings", "lora_embedding_A", "lora_embedding_a", "lora_embedding_B", "lora_embedding_b"}});

[[maybe_unused]] const bool adept_described =
    summaries("method").add("adept", {"a short prompt and a token-shared network on the embeddings", "2501.03291"});

}  // namespace
}  // namespace peft
