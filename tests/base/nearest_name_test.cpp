#include <gtest/gtest.h>

#include "peft/base/json.h"

namespace peft {
namespace {

TEST(NearestName, FindsTyposOnly) {
  const std::vector<std::string> known = {"learning_rate", "lora", "r", "full", "optim"};
  EXPECT_EQ(nearest_name("learning_rat", known), "learning_rate");
  EXPECT_EQ(nearest_name("learning-rate", known), "learning_rate");
  EXPECT_EQ(nearest_name("lroa", known), "lora");
  EXPECT_EQ(nearest_name("LoRA", known), "lora");
  EXPECT_EQ(nearest_name("optm", known), "optim");
  EXPECT_EQ(nearest_name("x", known), "");
  EXPECT_EQ(nearest_name("weight_decay", known), "");
  EXPECT_EQ(nearest_name("", known), "");
  EXPECT_EQ(nearest_name("lora", {}), "");
}

TEST(NearestName, ProposesNoOtherMeaning) {
  const std::vector<std::string> keys = {"use_rslora", "adam_beta1", "eval_steps", "r", "max_length", "lora_alpha"};
  for (const char* name : {"use_dora", "adam_beta3", "save_steps", "k", "max_steps", "lora_beta"})
    EXPECT_EQ(nearest_name(name, keys), "") << name;
  const std::vector<std::string> tasks = {"qnli", "sst2", "mrpc", "copa", "wnli"};
  for (const char* name : {"mnli", "snli", "sst5", "sst1", "anli", "boolq", "wic", "wsc", "qqp"})
    EXPECT_EQ(nearest_name(name, tasks), "") << name;
  const std::vector<std::string> types = {"float32", "bfloat16", "auto"};
  for (const char* name : {"float16", "float64", "int8", "float8"}) EXPECT_EQ(nearest_name(name, types), "") << name;
  EXPECT_EQ(nearest_name("encoder", {"decoder"}), "");
}

TEST(NearestName, FindsWordsCutInAnotherWay) {
  const std::vector<std::string> known = {"batch_size", "p_tuning", "multi_label", "sst2", "float32", "max_length"};
  EXPECT_EQ(nearest_name("batchsize", known), "batch_size");
  EXPECT_EQ(nearest_name("p-tuning", known), "p_tuning");
  EXPECT_EQ(nearest_name("ptuning", known), "p_tuning");
  EXPECT_EQ(nearest_name("SST-2", known), "sst2");
  EXPECT_EQ(nearest_name("sst", known), "sst2");
  EXPECT_EQ(nearest_name("float3", known), "float32");
  EXPECT_EQ(nearest_name("max_lenght", known), "max_length");
}

}  // namespace
}  // namespace peft
