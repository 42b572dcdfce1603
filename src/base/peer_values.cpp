#include <array>

#include "peft/base/peer_names.h"

namespace peft {
namespace {

constexpr std::string_view two_optimisers = R"(not supported: "adamw" and "sgd" are)",
                           no_shape = R"(not supported: "linear" and "cosine" fall to 0)", no_method = "not supported",
                           no_half = R"(not supported: float16 overflows; "bfloat16" has the same size)",
                           no_quantisation = "not supported: no quantised weights",
                           own_files = R"(it has no table here; "classification" with data.columns reads its files)",
                           no_metric = "not supported";

constexpr std::array optimisers{
    PeerName{"adamw_torch", "adamw", ""},
    PeerName{"adamw_torch_fused", "adamw", ""},
    PeerName{"adamw_hf", "adamw", ""},
    PeerName{"torch.optim.adamw", "adamw", ""},
    PeerName{"adam", "adamw", "with train.weight_decay 0 it is Adam"},
    PeerName{"adamw_8bit", "", two_optimisers},
    PeerName{"adamw_bnb_8bit", "", two_optimisers},
    PeerName{"paged_adamw_8bit", "", two_optimisers},
    PeerName{"paged_adamw_32bit", "", two_optimisers},
    PeerName{"adafactor", "", two_optimisers},
    PeerName{"adagrad", "", two_optimisers},
    PeerName{"rmsprop", "", two_optimisers},
    PeerName{"lion", "", two_optimisers},
};

constexpr std::array schedules{
    PeerName{"none", "constant", ""},
    PeerName{"linear_with_warmup", "linear", "with train.warmup_steps"},
    PeerName{"cosine_with_warmup", "cosine", "with train.warmup_steps"},
    PeerName{"cosine_with_restarts", "", no_shape},
    PeerName{"cosine_with_min_lr", "", no_shape},
    PeerName{"polynomial", "", no_shape},
    PeerName{"inverse_sqrt", "", no_shape},
    PeerName{"reduce_lr_on_plateau", "", no_shape},
    PeerName{"warmup_stable_decay", "", no_shape},
};

constexpr std::array dtypes{
    PeerName{"fp32", "float32", ""},
    PeerName{"float", "float32", ""},
    PeerName{"torch.float32", "float32", ""},
    PeerName{"bf16", "bfloat16", ""},
    PeerName{"torch.bfloat16", "bfloat16", ""},
    PeerName{"fp16", "", no_half},
    PeerName{"float16", "", no_half},
    PeerName{"half", "", no_half},
    PeerName{"torch.float16", "", no_half},
    PeerName{"float64", "", R"(not supported: "float32" is the widest)"},
    PeerName{"int8", "", no_quantisation},
    PeerName{"int4", "", no_quantisation},
    PeerName{"nf4", "", no_quantisation},
};

constexpr std::array attentions{
    PeerName{"sdpa", "auto", "the fastest that serves device and dtype"},
    PeerName{"eager", "reference", ""},
    PeerName{"flash_attention_2", "flash", ""},
    PeerName{"flash_attention_3", "", R"(not supported: "auto" is the fastest that serves device and dtype)"},
    PeerName{"flex_attention", "", R"(not supported: "auto" is the fastest that serves device and dtype)"},
    PeerName{"xformers", "efficient", ""},
};

constexpr std::array devices{
    PeerName{"gpu", "cuda", ""},
    PeerName{"cuda:0", "cuda", "CUDA_VISIBLE_DEVICES chooses the card"},
    PeerName{"mps", "", R"(not supported: "cpu" and "cuda" are)"},
    PeerName{"tpu", "", R"(not supported: "cpu" and "cuda" are)"},
};

constexpr std::array methods{
    PeerName{"prompt_tuning", "prompt", ""},
    PeerName{"soft_prompt", "prompt", ""},
    PeerName{"vpt", "prompt", R"(method.depth "deep" is VPT's deep form)"},
    PeerName{"prefix_tuning", "prefix", ""},
    PeerName{"full_finetuning", "full", ""},
    PeerName{"finetuning", "full", ""},
    PeerName{"fft", "full", ""},
    PeerName{"freeze", "", "not supported: \"full\" with method.exclude_modules, or \"linear_probe\""},
    PeerName{"linear_probing", "linear_probe", ""},
    PeerName{"bias", "bitfit", ""},
    PeerName{"rslora", "lora", "with method.use_rslora true"},
    PeerName{"qlora", "", no_quantisation},
    PeerName{"dora", "", no_method},
    PeerName{"adalora", "", no_method},
    PeerName{"ia3", "", no_method},
    PeerName{"(ia)3", "", no_method},
    PeerName{"loha", "", no_method},
    PeerName{"lokr", "", no_method},
    PeerName{"vera", "", no_method},
    PeerName{"oft", "", no_method},
    PeerName{"boft", "", no_method},
    PeerName{"xlora", "", no_method},
    PeerName{"hra", "", no_method},
    PeerName{"loftq", "", no_quantisation},
    PeerName{"pissa", "", no_method},
    PeerName{"multitask_prompt_tuning", "", no_method},
    PeerName{"adaption_prompt", "", no_method},
    PeerName{"fourierft", "", no_method},
    PeerName{"ln_tuning", "", no_method},
};

constexpr std::array tasks{
    PeerName{"text_classification", "classification", ""},
    PeerName{"sequence_classification", "classification", ""},
    PeerName{"seq_cls", "classification", ""},
    PeerName{"single_label_classification", "classification", ""},
    PeerName{"multi_label_classification", "multi_label", ""},
    PeerName{"sts", "stsb", "or \"regression\""},
    PeerName{"snli", "", own_files},
    PeerName{"anli", "", own_files},
    PeerName{"xnli", "", own_files},
    PeerName{"imdb", "", own_files},
    PeerName{"ag_news", "", own_files},
    PeerName{"causal_lm", "", "not supported: texts are classified, scored or chosen among"},
    PeerName{"seq_2_seq_lm", "", "not supported: texts are classified, scored or chosen among"},
    PeerName{"token_cls", "", "not supported: whole texts are classified"},
    PeerName{"ner", "", "not supported: whole texts are classified"},
    PeerName{"squad", "", "not supported: whole texts are classified"},
};

constexpr std::array metrics{
    PeerName{"acc", "accuracy", ""},
    PeerName{"matthews_correlation", "mcc", ""},
    PeerName{"matthews_corrcoef", "mcc", ""},
    PeerName{"f1_macro", "macro_f1", ""},
    PeerName{"f1_micro", "micro_f1", ""},
    PeerName{"f1_score", "f1", ""},
    PeerName{"pearsonr", "pearson", ""},
    PeerName{"spearmanr", "spearman", ""},
    PeerName{"exact_match", "subset_accuracy", "of sets of classes"},
    PeerName{"precision", "", no_metric},
    PeerName{"recall", "", no_metric},
    PeerName{"auc", "", no_metric},
    PeerName{"roc_auc", "", no_metric},
    PeerName{"f1_weighted", "", no_metric},
    PeerName{"mse", "loss", "of a regression"},
};

}  // namespace

std::span<const PeerName> peer_values(std::string_view kind) {
  if (kind == "train.optim") return optimisers;
  if (kind == "train.lr_scheduler_type") return schedules;
  if (kind == "model.dtype") return dtypes;
  if (kind == "model.attn_implementation") return attentions;
  if (kind == "train.device") return devices;
  if (kind == "method") return methods;
  if (kind == "task") return tasks;
  if (kind == "metric") return metrics;
  return {};
}

}  // namespace peft
