#include "peft/base/peer_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "peft/base/error.h"
#include "peft/base/fields.h"
#include "peft/base/registry.h"

namespace peft {
namespace {

using testing::HasSubstr;

TEST(PeerNames, KeysOfOtherProgramsAreAnsweredWithOurs) {
  const std::map<std::string, std::string> ours{
      // transformers
      {"model_name_or_path", "model.path"},
      {"torch_dtype", "model.dtype"},
      {"bf16", "model.dtype"},
      {"output_dir", "output"},
      {"per_device_train_batch_size", "train.batch_size"},
      {"eval_strategy", "train.eval_steps"},
      {"evaluation_strategy", "train.eval_steps"},
      {"save_strategy", "train.save_steps"},
      {"logging_strategy", "train.logging_steps"},
      {"max_seq_length", "task.max_length"},
      {"model_max_length", "task.max_length"},
      {"max_len", "task.max_length"},
      {"epoch", "train.num_train_epochs"},
      {"label_smoothing", "train.label_smoothing_factor"},
      {"class_weight", "train.class_weights"},
      {"optimiser", "train.optim"},
      {"max_train_samples", "data.limit.train"},
      {"max_eval_samples", "data.limit.dev"},
      {"max_predict_samples", "data.limit.test"},
      {"train_file", "data.files"},
      {"validation_file", "data.files"},
      {"test_file", "data.files"},
      {"text_column_name", "data.columns.text"},
      {"label_column_name", "data.columns.label"},
      {"task_name", "task.name"},
      {"problem_type", "task.name"},
      {"num_labels", "data.labels"},
      {"id2label", "data.labels"},
      {"hidden_dropout_prob", "model.dropout"},
      {"no_cuda", "train.device"},
      // peft
      {"peft_type", "method.type"},
      {"task_type", "task.name"},
      {"base_model_name_or_path", "model.path"},
      // axolotl, LLaMA-Factory, torchtune, Lightning, one's own scripts
      {"base_model", "model.path"},
      {"adapter", "method.type"},
      {"finetuning_type", "method.type"},
      {"lora_r", "method.r"},
      {"lora_rank", "method.r"},
      {"rank", "method.r"},
      {"alpha", "method.lora_alpha"},
      {"lora_target", "method.target_modules"},
      {"lora_target_modules", "method.target_modules"},
      {"lora_target_linear", "method.target_modules"},
      {"lora_modules_to_save", "method.modules_to_save"},
      {"additional_target", "method.modules_to_save"},
      {"prompt_length", "method.num_virtual_tokens"},
      {"pre_seq_len", "method.num_virtual_tokens"},
      {"adapter_name_or_path", "method.init_from"},
      {"lr", "train.learning_rate"},
      {"scheduler", "train.lr_scheduler_type"},
      {"lr_scheduler", "train.lr_scheduler_type"},
      {"num_warmup_steps", "train.warmup_steps"},
      {"warmup_proportion", "train.warmup_ratio"},
      {"epochs", "train.num_train_epochs"},
      {"num_epochs", "train.num_train_epochs"},
      {"max_train_steps", "train.max_steps"},
      {"micro_batch_size", "train.batch_size"},
      {"grad_accum", "train.gradient_accumulation_steps"},
      {"optimizer", "train.optim"},
      {"wd", "train.weight_decay"},
      {"betas", "train.adam_beta1"},
      {"eps", "train.adam_epsilon"},
      {"gradient_clip_val", "train.max_grad_norm"},
      {"random_seed", "train.seed"},
      {"patience", "train.early_stopping_patience"},
      {"eval_metric", "train.metric_for_best_model"},
      {"sequence_len", "task.max_length"},
      {"cutoff_len", "task.max_length"},
      {"dataset", "task.data"},
      {"data_path", "task.data"},
      {"flash_attention", "model.attn_implementation"},
      {"n_threads", "train.num_threads"},
  };
  EXPECT_GE(ours.size(), 60U);
  for (const auto& [name, path] : ours) {
    EXPECT_THAT(peer_key_answer("train." + name), testing::StartsWith("here it is \"" + path + "\"")) << name;
    EXPECT_THAT(peer_key_answer(name), testing::StartsWith("here it is \"" + path + "\"")) << name;
  }
}

TEST(PeerNames, WhatHasNoPlaceHereIsSaidSo) {
  for (const char* name : {"fp16", "tf32", "load_in_4bit", "quantization_config", "use_dora", "lora_bias", "bias",
                           "gradient_checkpointing", "deepspeed", "fsdp", "report_to", "push_to_hub",
                           "neftune_noise_alpha", "overwrite_output_dir", "trust_remote_code", "target_parameters"}) {
    EXPECT_THAT(peer_key_answer(name), testing::StartsWith("not supported: ")) << name;
  }
  for (const char* name : {"per_device_eval_batch_size", "dataloader_num_workers", "load_best_model_at_end",
                           "greater_is_better", "do_train", "packing", "fan_in_fan_out", "tokenizer"}) {
    EXPECT_THAT(peer_key_answer(name), testing::StartsWith("not needed: ")) << name;
  }
}

TEST(PeerNames, TheFormOfTheValueIsToldWhereItDiffers) {
  EXPECT_EQ(peer_key_answer("train.eval_strategy"),
            "here it is \"train.eval_steps\" (n: every n steps, 0: only at the end, absent: every epoch)");
  EXPECT_EQ(peer_key_answer("bf16"), "here it is \"model.dtype\" (\"bfloat16\")");
  EXPECT_EQ(peer_key_answer("no_cuda"), "here it is \"train.device\" (\"cpu\")");
}

TEST(PeerNames, CaseAndHyphensDoNotMatter) {
  EXPECT_EQ(peer_key_answer("LR"), peer_key_answer("lr"));
  EXPECT_EQ(peer_key_answer("train.per-device-train-batch-size"), "here it is \"train.batch_size\"");
}

TEST(PeerNames, AGeneralNameCountsInItsSection) {
  EXPECT_EQ(peer_key_answer("model.name"), "here it is \"model.path\"");
  EXPECT_EQ(peer_key_answer("method.name"), "here it is \"method.type\"");
  EXPECT_EQ(peer_key_answer("data.name"), "here it is \"task.name\"");
  EXPECT_EQ(peer_key_answer("name"), "");
}

TEST(PeerNames, NoNameStandsTwice) {
  std::set<std::string_view> seen;
  for (const PeerName& peer : peer_keys()) EXPECT_TRUE(seen.insert(peer.name).second) << peer.name;
  for (const char* kind : {"train.optim", "train.lr_scheduler_type", "model.dtype", "model.attn_implementation",
                           "train.device", "method", "task", "metric"}) {
    seen.clear();
    EXPECT_FALSE(peer_values(kind).empty()) << kind;
    for (const PeerName& peer : peer_values(kind)) EXPECT_TRUE(seen.insert(peer.name).second) << kind << peer.name;
  }
}

TEST(PeerNames, ValuesAreAnsweredWhereTheyAreRefused) {
  std::string dtype = "float32";
  const auto visit = [&](Fields& fields) {
    fields.section("model", {}, [&](Fields& model) {
      model.field("dtype", dtype, {.choices = {"float32", "bfloat16", "auto"}});
    });
  };
  const auto refusal = [&](const char* text) -> std::string {
    try {
      parse_fields(visit, parse_json(text, "x"), "x.json");
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_THAT(refusal(R"({"model": {"dtype": "bf16"}})"), HasSubstr("; here it is \"bfloat16\""));
  EXPECT_THAT(refusal(R"({"model": {"dtype": "float16"}})"), HasSubstr("; not supported: float16 overflows"));
  EXPECT_THAT(refusal(R"({"model": {"torch_dtype": 1}})"),
              HasSubstr("x.json: model.torch_dtype: unknown key; here it is \"model.dtype\""));
}

TEST(PeerNames, ARegistryAnswersThem) {
  Registry<int> registry("method");
  registry.add("prompt", 1);
  EXPECT_THAT(
      [&] { registry.at("prompt_tuning"); },
      testing::ThrowsMessage<ConfigError>("unknown method \"prompt_tuning\"; here it is \"prompt\" (known: prompt)"));
}

}  // namespace
}  // namespace peft
