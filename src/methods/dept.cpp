/// P trainable rows in front of the text and a low-rank offset per position of its word embeddings.     [Shi and Lipani 2023, arXiv:2309.05173]
///
///   O_KSC = s A_KSR B_KRC;   x_j = e_j + O[k,j] for text position j;   X'_b = [ p_k ; x_b ]
///
/// prompt [K,P,C], A ~ U(-1/sqrt(R), 1/sqrt(R)), B = 0, so a fresh adapter equals prompt. s = 1 (paper) or 8/sqrt(R) (released code).
/// The first token of a text, [CLS] included, takes row 0; virtual rows take none. Trainable numbers: P C + S R + R C.
/// The file (ours): prompt_embeddings [P,C], dept_A [S,R], dept_B [R,C]. Throws ConfigError when r > min(S,C), when max_length is below
/// the task's, or for a key that needs a decoder-only model; DataError for a text longer than S.

#include <ATen/ATen.h>

#include <cmath>

#include "peft/base/error.h"
#include "peft/base/summaries.h"
#include "src/methods/prompt_base.h"
#include "src/methods/prompt_rows.h"

namespace peft {
namespace {

constexpr double kCodeAlpha = 8.0;  // lora_alpha of the released code, which no script changes

struct DeptConfig : VirtualRowsConfig {
  int64_t r = 30;
  std::optional<int64_t> max_length;
  Json offset_scaling;
  std::optional<std::string> row_alignment;
  std::optional<bool> left_pad_positions;

  DeptConfig() {
    num_virtual_tokens = 60;
    prompt_tuning_init = "TEXT";
  }
  std::unique_ptr<MethodConfig> clone() const override { return std::make_unique<DeptConfig>(*this); }
  double learning_rate() const override { return 1e-2; }
  std::map<std::string, double> learning_rates() const override { return {{"offset", 1e-3}}; }
  void visit(Fields& fields) override {
    VirtualRowsConfig::visit(fields);
    fields.field("r", r, {.help = "rank of the offsets", .min = 1});
    fields.field("max_length", max_length,
                 {.help = "S, text positions that have an offset; absent: task.max_length", .min = 1});
    fields.field(
        "offset_scaling", offset_scaling,
        {.help = "factor of the offsets: \"none\" (1), \"code\" (8/sqrt(r)) or a number; null: as compat says"});
    fields.field("row_alignment", row_alignment,
                 {.help = "row of text position j of n: start = j, end = S - n + j; absent: start, or end with compat "
                          "\"code\" on decoder-only models",
                  .choices = {"start", "end"}});
    fields.field("left_pad_positions", left_pad_positions,
                 {.help = "decoder-only: text positions start at P + S - n; absent: as compat says"});
  }
  void resolve() override {
    if (!prompt_tuning_init_text) prompt_tuning_init_text = dept_init_text(compat);
    if (offset_scaling.is_null()) offset_scaling = compat == "code" ? "code" : "none";
  }
  void validate() const override {
    VirtualRowsConfig::validate();
    const Json& s = offset_scaling;
    if (!s.is_null() && !s.is_number() && s != "none" && s != "code") {
      throw_error<ConfigError>("method.offset_scaling: found {}, expected \"none\", \"code\" or a number", s.dump());
    }
  }
  double scaling() const {
    if (offset_scaling.is_number()) return offset_scaling.get<double>();
    return offset_scaling == "code" ? kCodeAlpha / std::sqrt(static_cast<double>(r)) : 1.0;
  }
};

class Dept : public VirtualRows {
 public:
  Dept(Transformer& model, const BankSpec& bank)
      : VirtualRows(model, bank),
        config_(dynamic_cast<const DeptConfig&>(*bank.configs.at(0))),
        positions_(config_.max_length.value_or(bank.max_length)),
        at_end_(config_.row_alignment.value_or(follows_decoder_code(config_) ? "end" : "start") == "end") {
    const int64_t width = model.spec().first().width, rank = config_.r;
    if (config_.left_pad_positions.value_or(follows_decoder_code(config_))) {
      throw_error<ConfigError>("method.left_pad_positions: true needs a decoder-only model, found {}",
                               model.spec().model_type);
    }
    if (positions_ < std::max<int64_t>(bank.max_length, 1)) {
      throw_error<ConfigError>("method.max_length: found {}, expected at least {}, the longest text", positions_,
                               std::max<int64_t>(bank.max_length, 1));
    }
    if (rank > std::min(positions_, width) && !bank.from_files) {
      throw_error<ConfigError>("method.r: found {}, expected 1 to {} (max_length {}, width {})", rank,
                               std::min(positions_, width), positions_, width);
    }
    prompt_KPC_ = add_prompt({config_.num_virtual_tokens, width});
    a_KSR_ = add_parameter("dept_A", {positions_, rank}, "offset", [&](int64_t k, std::span<float> values) {
      const float bound = 1.0F / std::sqrt(static_cast<float>(rank));
      init_stream(k, "dept_A").fill_uniform(values, -bound, bound);
    });
    b_KRC_ = add_parameter("dept_B", {rank, width}, "offset", [](int64_t, std::span<float>) {});
    add_trained_head();
  }

  void begin_pass(const DropoutContext& context) override {
    VirtualRows::begin_pass(context);
    offsets_KSC_ = at::bmm(a_KSR_, b_KRC_) * config_.scaling();
  }

  Embedded embed(const at::Tensor& ids_T, const Batch& rows) override {
    const at::Tensor index = at::tensor(at::ArrayRef<int64_t>(offset_rows(*rows)), at::kLong),
                     words_TC = model_.words(ids_T);
    const at::Tensor added = at::embedding(offsets_KSC_.flatten(0, 1), index.to(ids_T.device()));
    return in_front(prompt_KPC_, rows, (words_TC + added).to(words_TC.scalar_type()));
  }

  AdapterFiles fold(int64_t k) const override {
    AdapterFiles files;
    files.config = base_config("DEPT");
    files.config.update({{"library", "peft.cpp"},
                         {"format_version", 1},
                         {"num_virtual_tokens", config_.num_virtual_tokens},
                         {"token_dim", model_.spec().first().width},
                         {"r", config_.r},
                         {"max_length", positions_},
                         {"offset_scaling", config_.offset_scaling.is_null() ? "none" : config_.offset_scaling},
                         {"row_alignment", at_end_ ? "end" : "start"},
                         {"left_pad_positions", false},
                         {"pooling", config_.pooling}});
    files.tensors["prompt_embeddings"] = prompt_KPC_.detach()[k];
    files.tensors["dept_A"] = a_KSR_.detach()[k];
    files.tensors["dept_B"] = b_KRC_.detach()[k];
    fold_head(k, kPromptPrefix, files);
    return files;
  }

  void load(int64_t k, const AdapterFiles& files, bool head) override {
    load_slice(prompt_KPC_, k, files, "prompt_embeddings");
    load_slice(a_KSR_, k, files, "dept_A");
    load_slice(b_KRC_, k, files, "dept_B");
    if (head) load_head(k, kPromptPrefix, files);
  }

 private:
  bool follows_decoder_code(const DeptConfig& config) const {
    return config.compat == "code" && decoder_only(model_.spec());
  }

  /// Row of the K S offsets that each token takes.
  std::vector<int64_t> offset_rows(const PackedBatch& rows) const {
    std::vector<int64_t> index = rows.index();
    for (int64_t b = 0; b < rows.sequences(); ++b) {
      const int64_t length = rows.length(b);
      if (length > positions_) {
        throw_error<DataError>("a text of {} tokens: the dept adapter has offsets for {} (method.max_length)", length,
                               positions_);
      }
      const int64_t first = rows.adapter(b) * positions_ + (at_end_ ? positions_ - length : 0);
      for (int64_t t = rows.begin(b); t < rows.begin(b) + length; ++t) index[t] += first;
    }
    return index;
  }

  const DeptConfig& config_;
  const int64_t positions_;  // S
  const bool at_end_;
  at::Tensor prompt_KPC_, a_KSR_, b_KRC_;
  at::Tensor offsets_KSC_;  // of the current pass
};

std::unique_ptr<MethodConfig> recognise_dept(const AdapterFiles& files) {
  if (files.config.value("peft_type", "") != "DEPT") return nullptr;
  auto config = std::make_unique<DeptConfig>();
  files.read("num_virtual_tokens", config->num_virtual_tokens);
  files.read("r", config->r);
  files.read("offset_scaling", config->offset_scaling);
  files.read("pooling", config->pooling);
  config->max_length = 0;
  config->row_alignment = "start";
  config->left_pad_positions = false;
  files.read("max_length", *config->max_length);
  files.read("row_alignment", *config->row_alignment);
  files.read("left_pad_positions", *config->left_pad_positions);
  config->resolve();
  config->validate();
  check_prompt_rows(files, config->num_virtual_tokens);
  check_announced(files, "dept_A", {*config->max_length, config->r});
  check_announced(files, "dept_B", {config->r, -1});
  return config;
}

/// lora_embedding_A [S,R] and _B [R,C]: an offset per position, times lora_alpha / sqrt(R).
std::optional<AdapterFiles> import_dept(const ReleasedFiles& released) {
  if (!is_low_rank_release(released) || released.tensors.contains("lora_embedding_a") ||
      released.tensors.contains("lora_embedding_b"))
    return std::nullopt;
  const at::Tensor &a = released.required("lora_embedding_A", 2), &b = released.required("lora_embedding_B", 2);
  AdapterFiles files = released.files;
  double alpha = kCodeAlpha;
  files.read("lora_alpha", alpha);
  files.config = released_config(released, "DEPT", a.size(1));
  const double factor = alpha / std::sqrt(static_cast<double>(a.size(1)));
  files.config.update({{"max_length", a.size(0)},
                       {"offset_scaling", alpha == kCodeAlpha ? Json("code") : Json(factor)},
                       {"row_alignment", files.config["left_pad_positions"] == true ? "end" : "start"}});
  files.tensors["prompt_embeddings"] = released.required("prompt_embeddings", 2);
  files.tensors["dept_A"] = a;
  files.tensors["dept_B"] = b;
  return files;
}

const bool dept_registered =
    methods().add("dept", {[] { return std::make_unique<DeptConfig>(); },
                           [](Transformer& model, const BankSpec& bank) { return std::make_unique<Dept>(model, bank); },
                           recognise_dept,
                           import_dept,
                           {"prompt_embeddings", "lora_embedding_A", "lora_embedding_B"}});

[[maybe_unused]] const bool dept_described = summaries("method").add(
    "dept", {"a short prompt and a low-rank offset of the embeddings by position", "2309.05173"});

}  // namespace
}  // namespace peft
