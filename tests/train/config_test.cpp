#include "peft/train/config.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <set>

#include "peft/base/error.h"
#include "peft/base/peer_names.h"
#include "peft/kernels/attention_implementation.h"
#include "peft/methods/method.h"
#include "tests/support/tiny_task.h"

namespace peft {
namespace {

using testing::HasSubstr;

Json minimal() {
  return {{"model", {{"path", "m"}}},
          {"task", {{"name", "sst2"}, {"data", "d"}}},
          {"method", {{"type", "lora"}}},
          {"output", "o"}};
}

std::string refusal(const Json& json) {
  try {
    RunConfig::from_json(json, "x.json");
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(RunConfig, ResolvedConfigIsItselfAConfig) {
  const Json once = RunConfig::from_json(minimal(), "x.json").to_json();
  EXPECT_EQ(RunConfig::from_json(once, "x.json").to_json(), once);
  EXPECT_TRUE(once["output"].get<std::string>().starts_with("/"));
  EXPECT_EQ(once["train"]["batch_size"], 32);
}

TEST(RunConfig, KShotIsDrawnByTheSeedOfTrainingUnlessItHasItsOwn) {
  Json json = minimal();
  json["train"]["seed"] = 7;
  const auto seed = [&] { return RunConfig::from_json(json, "x.json").data.split.k_shot_seed; };
  EXPECT_EQ(seed(), std::nullopt);
  json["data"]["k_shot_total"] = 16;
  EXPECT_EQ(seed(), 7);
  json["data"]["k_shot_seed"] = 3;
  EXPECT_EQ(seed(), 3);
}

TEST(RunConfig, ProvenanceIsIgnoredOnInput) {
  Json json = minimal();
  json["provenance"] = {{"anything", 1}};
  EXPECT_EQ(refusal(json), "accepted");
}

TEST(RunConfig, AnEditorsSchemaIsIgnoredOnInput) {
  Json json = minimal();
  json["$schema"] = "config.schema.json";
  EXPECT_EQ(refusal(json), "accepted");
  EXPECT_FALSE(RunConfig::from_json(json, "x.json").to_json().contains("$schema"));
}

/// A folder with a config file beside what it names.
class ConfigPaths : public testing::Test {
 protected:
  ConfigPaths() : folder_(std::filesystem::path(testing::TempDir()) / "config_paths") {
    std::filesystem::remove_all(folder_);
    write_atomic(folder_ / "m" / "config.json", "{}");
    write_atomic(folder_ / "d" / "train.tsv", "");
  }
  RunConfig read(const Json& json) const {
    write_atomic(folder_ / "x.json", json.dump());
    return RunConfig::read(folder_ / "x.json");
  }
  std::string refusal_of(const Json& json) const {
    try {
      read(json);
    } catch (const DataError& error) {
      return error.what();
    }
    return "accepted";
  }
  std::filesystem::path folder_;
};

TEST_F(ConfigPaths, AreTriedBesideTheFile) {
  Json json = minimal();
  json["data"]["files"] = {{"dev", "d/train.tsv"}};
  json["method"]["init_from"] = "m";
  const RunConfig config = read(json);
  EXPECT_EQ(config.model.path, folder_ / "m");
  EXPECT_EQ(config.task.data, folder_ / "d");
  EXPECT_EQ(config.data.files.at("dev"), folder_ / "d" / "train.tsv");
  EXPECT_EQ(config.method->init_from, (folder_ / "m").string());
  EXPECT_EQ(config.output, std::filesystem::absolute("o"));
}

TEST_F(ConfigPaths, TheWorkingDirectoryComesFirst) {
  const auto here = std::filesystem::current_path();
  write_atomic(folder_ / "here" / "m" / "config.json", "{}");
  std::filesystem::current_path(folder_ / "here");
  const RunConfig config = read(minimal());
  std::filesystem::current_path(here);
  EXPECT_EQ(config.model.path, folder_ / "here" / "m");
  EXPECT_EQ(config.task.data, folder_ / "d");
}

TEST_F(ConfigPaths, WhatIsNowhereNamesTheKeyAndThePlaces) {
  const auto names = [&](const std::string& key, const std::string& path) {
    return HasSubstr(fmt::format("x.json: {}: found \"{}\", but nothing lies at {} or {}", key, path,
                                 std::filesystem::absolute(path).string(), (folder_ / path).string()));
  };
  Json json = minimal();
  json["model"]["path"] = "org/none";
  EXPECT_THAT(refusal_of(json), testing::AllOf(names("model.path", "org/none"), HasSubstr("hf download org/none")));
  json = minimal();
  json["task"]["data"] = "none";
  EXPECT_THAT(refusal_of(json), names("task.data", "none"));
  json = minimal();
  json["data"]["files"] = {{"dev", "none.tsv"}};
  EXPECT_THAT(refusal_of(json), names("data.files.dev", "none.tsv"));
  json = minimal();
  json["method"]["init_from"] = "none";
  EXPECT_THAT(refusal_of(json), names("method.init_from", "none"));
}

TEST(RunConfigSchema, NamesTasksAndSweep) {
  const Json keys = run_config_schema()["properties"];
  const auto tasks = keys["task"]["properties"]["name"]["enum"].get<std::vector<std::string>>();
  EXPECT_THAT(tasks, testing::IsSupersetOf({"glue/rte", "rte", "superglue/copa", "copa", "sst2", "classification"}));
  EXPECT_TRUE(keys.contains("sweep") && keys.contains("$schema") && keys.contains("provenance"));
}

TEST(RunConfig, UnknownKeysSuggestTheNearest) {
  Json json = minimal();
  json["train"]["learning_rat"] = 1;
  EXPECT_EQ(refusal(json), "x.json: train.learning_rat: unknown key; did you mean \"learning_rate\"?");
  json = minimal();
  json["method"]["lora_alpa"] = 1;
  EXPECT_THAT(refusal(json), HasSubstr("method.lora_alpa: unknown key; did you mean \"lora_alpha\"?"));
}

/// Whether the schema of a run config has a key at this path; of `method` in any of the methods.
bool has_key(const Json& schema, std::string_view path) {
  if (path.empty()) return true;
  if (schema.contains("oneOf")) {
    return std::any_of(schema["oneOf"].begin(), schema["oneOf"].end(),
                       [&](const Json& one) { return has_key(one, path); });
  }
  const std::string_view key = path.substr(0, path.find('.')),
                         rest = path.substr(std::min(key.size() + 1, path.size()));
  const Json& properties = schema.value("properties", Json::object());
  return properties.contains(key) && has_key(properties.at(std::string(key)), rest);
}

TEST(RunConfig, AnswersToNamesOfOtherProgramsNameKeysThatExist) {
  const Json schema = run_config_schema();
  for (const PeerName& peer : peer_keys()) {
    EXPECT_TRUE(peer.ours.empty() || has_key(schema, peer.ours)) << peer.name << " -> " << peer.ours;
    EXPECT_TRUE(!peer.ours.empty() || !peer.note.empty()) << peer.name;
  }
  const std::map<std::string, std::vector<std::string>> choices{
      {"train.optim", {"adamw", "sgd"}},
      {"train.device", {"auto", "cpu", "cuda"}},
      {"model.dtype", {"float32", "bfloat16", "auto"}},
      {"train.lr_scheduler_type", {"linear", "cosine", "constant", "constant_with_warmup"}},
      {"model.attn_implementation", {kAttentionImplementations.begin(), kAttentionImplementations.end()}},
      {"method", methods().names()},
      {"task", {"classification", "multi_label", "stsb"}},
      {"metric", {"accuracy", "mcc", "macro_f1", "micro_f1", "f1", "pearson", "spearman", "subset_accuracy", "loss"}}};
  for (const auto& [kind, values] : choices) {
    for (const PeerName& peer : peer_values(kind))
      EXPECT_TRUE(peer.ours.empty() || std::count(values.begin(), values.end(), peer.ours) > 0) << peer.name;
  }
}

TEST(RunConfig, NamesOfOtherProgramsAreAnswered) {
  Json json = minimal();
  json["train"]["lr"] = 1;
  EXPECT_EQ(refusal(json), "x.json: train.lr: unknown key; here it is \"train.learning_rate\"");
  json = minimal();
  json["method"]["use_dora"] = true;
  EXPECT_THAT(refusal(json), HasSubstr("method.use_dora: unknown key; not supported: "));
  json = minimal();
  json["task"]["name"] = "snli";
  EXPECT_THAT(refusal(json), testing::Not(HasSubstr("did you mean")));
}

TEST(RunConfig, UnknownMethodListsTheKnown) {
  Json json = minimal();
  json["method"]["type"] = "lroa";
  EXPECT_THAT(refusal(json), HasSubstr("x.json: method.type: unknown method \"lroa\"; did you mean \"lora\"?"));
}

TEST(RunConfig, AMethodWithoutTypeIsNamedAsSuch) {
  Json json = minimal();
  json["method"] = {{"r", 8}};
  EXPECT_THAT(refusal(json), HasSubstr("x.json: method.type: missing (known: "));
}

TEST(RunConfig, Contradictions) {
  const auto with = [](const char* key, const Json& value, const char* other = nullptr, const Json& other_value = {}) {
    Json json = minimal();
    json["train"][key] = value;
    if (other != nullptr) json["train"][other] = other_value;
    return refusal(json);
  };
  EXPECT_THAT(with("batch_size", 8, "batch_tokens", 100), HasSubstr("train.batch_tokens"));
  EXPECT_THAT(with("lr_scheduler_type", "constant", "warmup_steps", 3), HasSubstr("constant_with_warmup"));
  EXPECT_THAT(with("max_steps", 0), HasSubstr("train.max_steps"));
  EXPECT_THAT(with("momentum", 0.9), HasSubstr("train.momentum"));
  EXPECT_THAT(with("learning_rates", Json{{"heads", 0.1}}), HasSubstr("train.learning_rates.heads"));
  Json json = minimal();
  json["model"]["dropout"] = 1.5;
  EXPECT_THAT(refusal(json), HasSubstr("model.dropout"));
  json = minimal();
  json["method"]["target_modules"] = 3;
  EXPECT_THAT(refusal(json), HasSubstr("method.target_modules"));
}

TEST(RunConfig, AMethodNamesItsOwnRateUnlessTheConfigDoes) {
  const auto rates = [](const char* type, const Json& train) {
    Json json = minimal();
    json["method"] = {{"type", type}};
    json["train"] = train;
    return RunConfig::from_json(json, "x.json").train;
  };
  for (const std::string& type : methods().names())
    EXPECT_EQ(rates(type.c_str(), Json::object()).learning_rate, methods().at(type).config()->learning_rate()) << type;
  EXPECT_GT(rates("prompt", Json::object()).learning_rate, rates("full", Json::object()).learning_rate);
  EXPECT_EQ(rates("prompt", {{"learning_rate", 0.25}}).learning_rate, 0.25);
  // Rates of groups are the method's own, too, but not beside a rate of the config.
  EXPECT_EQ(rates("dept", Json::object()).rate_of("offset"), 1e-3);
  EXPECT_EQ(rates("dept", {{"learning_rate", 0.25}}).rate_of("offset"), 0.25);
  EXPECT_EQ(rates("dept", {{"learning_rates", {{"head", 0.5}}}}).rate_of("offset"), 1e-2);
}

/// The keys in which the jobs of a bank may differ.
class KeysPerJob final : public Fields {
 public:
  std::set<std::string> found;

 protected:
  void leaf(std::string_view name, Leaf, const FieldInfo& info) override {
    if (info.per_job) found.insert(section_ + std::string(name));
  }
  bool begin_section(std::string_view name, const FieldInfo& info) override {
    if (info.per_job) found.insert(std::string(name));
    section_ = std::string(name) + ".";
    return !info.per_job;
  }
  void end_section() override { section_.clear(); }

 private:
  std::string section_;
};

/// All others decide shapes, the network, or how a step is computed.
TEST(BankKey, PassesOverWhatMayDifferInABank) {
  RunConfig run = RunConfig::from_json(minimal(), "x.json");
  KeysPerJob keys;
  run.visit(keys);
  std::set<std::string> expected{"data", "output", "task.data"};
  for (const char* key : {"class_weights",
                          "label_smoothing_factor",
                          "adam_beta1",
                          "adam_beta2",
                          "adam_epsilon",
                          "data_seed",
                          "early_stopping_patience",
                          "eval_steps",
                          "learning_rate",
                          "learning_rates",
                          "logging_steps",
                          "lr_scheduler_type",
                          "max_grad_norm",
                          "max_steps",
                          "metric_for_best_model",
                          "momentum",
                          "num_train_epochs",
                          "save_steps",
                          "seed",
                          "warmup_ratio",
                          "warmup_steps",
                          "weight_decay"}) {
    expected.insert(std::string("train.") + key);
  }
  for (const char* key : {"alpha_pattern", "init_from", "init_head", "lora_alpha", "lora_dropout"})
    expected.insert(std::string("method.") + key);
  EXPECT_EQ(keys.found, expected);

  KeysPerJob of_methods;
  for (const std::string& name : methods().names()) methods().at(name).config()->visit(of_methods);
  EXPECT_THAT(of_methods.found,
              testing::ElementsAre("alpha_pattern", "encoder_dropout", "feature_dropout", "init_from", "init_head",
                                   "init_text", "lora_alpha", "lora_dropout", "offset_dropout", "prefix_dropout",
                                   "prompt_dropout", "prompt_tuning_init", "prompt_tuning_init_text"));
}

TEST(FirstDifference, NamesTheKeyAndPassesOverHarmlessOnes) {
  const RunConfig a = RunConfig::from_json(minimal(), "x.json");
  RunConfig b = a;
  const auto difference = [&] { return first_difference(a.to_json(changes_numbers), b.to_json(changes_numbers)); };
  b.output = "/elsewhere";
  b.train.logging_steps = 3;
  EXPECT_EQ(difference(), "");
  b.train.learning_rate = 0.5;
  EXPECT_EQ(difference(), "train.learning_rate");
}

}  // namespace
}  // namespace peft
