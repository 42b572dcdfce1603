#include "peft/interop/adapter_folder.h"

#include <gmock/gmock.h>

#include "peft/base/error.h"
#include "peft/tensor/safetensors.h"
#include "tests/base/temporary_folder.h"
#include "tests/support/banks.h"
#include "tests/support/method_configs.h"

namespace peft {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::ThrowsMessage;

const std::vector<Text> kTexts{random_text(1, 5), random_text(2, 1), random_text(3, 9)};

Json config_of(const std::string& type) {
  Json config{{"type", type}};
  if (type == "lora")
    config.update({{"r", 3},
                   {"lora_alpha", 5},
                   {"use_rslora", true},
                   {"rank_pattern", {{"value", 2}}},
                   {"alpha_pattern", {{"layer.1.*", 7}}}});
  if (type == "prompt") config.update({{"num_virtual_tokens", 4}, {"pooling", "cls"}});
  if (type == "prefix") config.update({{"num_virtual_tokens", 4}});
  if (type == "p_tuning") config.update({{"num_virtual_tokens", 4}});  // a folded network has the model's width
  if (type == "dept" || type == "adept")
    config.update({{"num_virtual_tokens", 4}, {"r", 3}, {"prompt_tuning_init", "RANDOM"}, {"offset_scaling", 0.5}});
  return config.size() > 1 ? config : method_config_of(type);
}

/// A tensor's name without the prefix in front of the module, which differs between families.
std::string without_prefix(const std::string& name) {
  for (const char* prefix : {"base_model.model.", "base_model."}) {
    if (name.starts_with(prefix)) return name.substr(std::string_view(prefix).size());
  }
  return name;
}

class AdapterFolder : public testing::TestWithParam<std::string> {
 protected:
  TemporaryFolder folder_;
  Transformer model_ = load();
  const std::filesystem::path adapter_ = folder_ / "adapter";

  Transformer load() { return Transformer::load(TinyBert().write(folder_ / "model"), "float32"); }
  MethodBank trained(const std::string& type) {
    MethodBank bank(model_, config_of(type), {1}, at::kFloat);
    bank.perturb(0.3);
    return bank;
  }
  /// Writes what `change` makes of a fresh adapter's files.
  void write(
      const std::string& type, const std::function<void(AdapterFiles&)>& change = [](AdapterFiles&) {}) {
    MethodBank bank = trained(type);
    AdapterFiles files = bank->fold(0);
    change(files);
    write_adapter(adapter_, files);
  }
  static at::Tensor logits(LoadedAdapter& loaded, const Transformer& model) {
    const DropoutContext evaluation;
    loaded.method->begin_pass(evaluation);
    return model.classify(make_input(kTexts), *loaded.method, evaluation);
  }
  void refused(const std::string& message, const std::string& other = "") {
    EXPECT_THAT([&] { load_adapter(model_, adapter_); },
                ThrowsMessage<DataError>(
                    AllOf(HasSubstr(adapter_.string()), HasSubstr(message), HasSubstr(other), Not(HasSubstr("\n")))));
  }
};

TEST_P(AdapterFolder, LoadsAgainBitForBit) {
  MethodBank bank = trained(GetParam());
  const at::Tensor expected = bank.logits(model_, make_input(kTexts));
  write_adapter(adapter_, bank->fold(0));
  Transformer fresh = load();
  LoadedAdapter loaded = load_adapter(fresh, adapter_);
  EXPECT_EQ(loaded.config->type, GetParam());
  EXPECT_EQ(loaded.outputs, 2);
  EXPECT_TRUE(same_values(logits(loaded, fresh), expected));
}

TEST_P(AdapterFolder, KeysOfOursAreKnown) {
  write(GetParam());
  testing::internal::CaptureStderr();
  load_adapter(model_, adapter_);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST_P(AdapterFolder, EqualAdaptersGiveEqualBytes) {
  write(GetParam());
  const std::string config = content_of(adapter_ / "adapter_config.json"),
                    tensors = content_of(adapter_ / "adapter_model.safetensors");
  Transformer fresh = load();
  const LoadedAdapter loaded = load_adapter(fresh, adapter_);
  write_adapter(folder_ / "again", loaded.method->fold(0));
  EXPECT_EQ(content_of(folder_ / "again" / "adapter_config.json"), config);
  EXPECT_EQ(content_of(folder_ / "again" / "adapter_model.safetensors"), tensors);
}

TEST_P(AdapterFolder, MissingAndMisshapenTensorsAreNamed) {
  std::vector<std::string> names;
  write(GetParam(), [&](AdapterFiles& files) {
    for (const auto& [name, tensor] : files.tensors) names.push_back(name);
  });
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    write(GetParam(), [&](AdapterFiles& files) { files.tensors.erase(name); });
    refused("adapter_model.safetensors: tensor ", without_prefix(name) + " is missing");
    for (const auto& shape : {std::vector<int64_t>{5, 5}, std::vector<int64_t>{5}, std::vector<int64_t>{2, 2, 2}}) {
      write(GetParam(), [&](AdapterFiles& files) { files.tensors[name] = at::zeros(shape); });
      refused("adapter", without_prefix(name));
    }
  }
}

/// Every method that has files of its own.
std::vector<std::string> types() {
  std::vector<std::string> names = methods().names();
  std::erase_if(names, [](const std::string& name) { return methods().at(name).recognise == nullptr; });
  return names;
}

INSTANTIATE_TEST_SUITE_P(Each, AdapterFolder, testing::ValuesIn(types()));

using OneAdapter = AdapterFolder;

TEST_F(OneAdapter, IsFoundInARunFolder) {
  const std::filesystem::path run = folder_ / "run";
  std::filesystem::create_directories(run);
  EXPECT_THAT([&] { find_adapter(folder_ / "none"); }, ThrowsMessage<DataError>(HasSubstr("none: no such folder")));
  put(run / "notes.txt", "");
  EXPECT_THAT(
      [&] { find_adapter(run); },
      ThrowsMessage<DataError>(AllOf(HasSubstr("no adapter_config.json, nor best/ or last/"), HasSubstr("notes.txt"))));
  write("lora");
  const auto options = std::filesystem::copy_options::recursive;
  std::filesystem::copy(adapter_, run / "last", options);
  EXPECT_EQ(find_adapter(run), run / "last");
  std::filesystem::copy(adapter_, run / "best", options);
  EXPECT_EQ(find_adapter(run), run / "best");
  EXPECT_EQ(find_adapter(run / "last"), run / "last");
}

TEST_F(OneAdapter, ReplacesAnOlderOneWhole) {
  write("prompt");
  put(adapter_ / "left_over.txt", "old");
  write("lora");
  EXPECT_FALSE(std::filesystem::exists(adapter_ / "left_over.txt"));
  EXPECT_FALSE(std::filesystem::exists(adapter_.string() + ".new"));
  EXPECT_EQ(read_adapter(adapter_).config.at("peft_type"), "LORA");
}

TEST_F(OneAdapter, MayBeNamedWithASlash) {
  write("lora");
  MethodBank bank = trained("prompt");
  write_adapter(adapter_.string() + "/", bank->fold(0));
  EXPECT_TRUE(read_adapter(adapter_).has_type("PROMPT_TUNING"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(adapter_), {}), 2);
}

TEST_F(OneAdapter, PickleFilesAreRefusedWithAdvice) {
  write("lora");
  std::filesystem::remove(adapter_ / "adapter_model.safetensors");
  put(adapter_ / "adapter_model.bin", std::string("PK\x03\x04", 4) + std::string(60, '\0'));
  refused("adapter_model.bin", "pickle files are not opened; convert with: python -c");
}

TEST_F(OneAdapter, NewerFormatVersionsOfOursAreRefused) {
  write("linear_probe", [](AdapterFiles& files) { files.config["format_version"] = 2; });
  refused("adapter_config.json: format_version 2 is newer than 1");
  write("linear_probe", [](AdapterFiles& files) { files.config["format_version"] = "two"; });
  refused("format_version: \"two\" has the wrong type");
}

TEST_F(OneAdapter, TypesNobodyKnowsAreRefused) {
  write("lora", [](AdapterFiles& files) { files.config["peft_type"] = "IA3"; });
  refused("adapter_config.json: peft_type \"IA3\" is not supported");
  write("lora", [](AdapterFiles& files) { files.config.erase("peft_type"); });
  refused("adapter_config.json: peft_type: missing, expected a string");
  write("lora", [](AdapterFiles& files) { files.config["peft_type"] = nullptr; });
  refused("adapter_config.json: peft_type: found null, expected a string");
  write("lora", [](AdapterFiles& files) { files.config["peft_type"] = 3; });
  refused("adapter_config.json: peft_type: found 3, expected a string");
}

TEST_F(OneAdapter, KeysOfAnotherTypeOrRangeAreRefused) {
  const auto with = [&](const std::string& type, const std::string& key, const Json& value) {
    SCOPED_TRACE(type + "." + key);
    write(type, [&](AdapterFiles& files) { files.config[key] = value; });
    refused("adapter_config.json", key);
  };
  with("lora", "r", "three");
  with("lora", "r", 0);
  with("lora", "r", -1);
  with("lora", "lora_alpha", Json::array({1}));
  with("lora", "use_dora", true);
  with("lora", "bias", "some");
  with("lora", "init_lora_weights", "pissa");
  with("prompt", "num_virtual_tokens", -1);
  with("prompt", "pooling", "mean");
  with("prefix", "num_virtual_tokens", -1);
  with("ntk_attention", "num_virtual_tokens", -1);
  with("ntk_attention", "feature_map", "relu");
  with("ntk_attention", "feature_dim", 5);
  with("ntk_attention", "z_rank", 2);
}

TEST_F(OneAdapter, DuplicateNamesOfModulesAndUnknownKeysAreHarmless) {
  write("prompt", [](AdapterFiles& files) {
    files.config["modules_to_save"] = {"classifier", "score", "classifier", "score"};
    files.config["some_future_key"] = 1;
    files.config["num_virtual_tokens"] = 4;
  });
  EXPECT_NO_THROW(load_adapter(model_, adapter_));
}

TEST_F(OneAdapter, UnknownKeysWithAValueAreNamed) {
  const auto warnings = [&](const Json& keys) {
    write("lora", [&](AdapterFiles& files) { files.config.update(keys); });
    testing::internal::CaptureStderr();
    load_adapter(model_, adapter_);
    return testing::internal::GetCapturedStderr();
  };
  EXPECT_THAT(warnings({{"use_future_scaling", true}}),
              HasSubstr("adapter_config.json: use_future_scaling: true is not known"));
  EXPECT_THAT(warnings({{"lora_gain", 3.0}}), HasSubstr("lora_gain: 3.0 is not known"));
  EXPECT_THAT(warnings({{"new_list", {1}}}), HasSubstr("new_list: [1] is not known"));
  EXPECT_EQ(warnings({{"a", nullptr}, {"b", false}, {"c", Json::object()}, {"d", Json::array()}, {"e", ""}}), "");
}

TEST_F(OneAdapter, StraysAreIgnoredWithANote) {
  write("lora", [](AdapterFiles& files) {
    files.tensors["base_model.model.bert.something.weight"] = at::zeros({2});
    files.tensors["base_model.model.classifier.original_module.dense.bias"] = at::zeros({2});
  });
  testing::internal::CaptureStderr();
  load_adapter(model_, adapter_);
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              AllOf(HasSubstr("adapter_model.safetensors: ignored: "), HasSubstr("bert.something.weight"),
                    HasSubstr("original_module")));
}

TEST_F(OneAdapter, TensorsOfTheBaseModelThatDoNotFitAreRefused) {
  for (const char* name :
       {"base_model.model.bert.embeddings.word_embeddings.weight", "base_model.bert.pooler.dense.weight",
        "base_model.model.bert.encoder.layer.0.attention.self.query.base_layer.bias"}) {
    write("lora", [&](AdapterFiles& files) { files.tensors[name] = at::zeros({27, 3}); });
    refused(fmt::format("adapter_model.safetensors: tensor {} has shape [27, 3], expected [", name), "base model");
  }
}

TEST_F(OneAdapter, TablesOfAnotherWidthThanTheConfigSaysAreRefused) {
  for (const char* type : {"prompt", "prefix", "p_tuning", "dept"}) {
    SCOPED_TRACE(type);
    write(type, [&](AdapterFiles& files) { files.config["token_dim"] = 12; });
    refused("adapter_model.safetensors: tensor prompt_embeddings has ", " columns, expected 12 or ");
  }
  write("prefix", [&](AdapterFiles& files) { files.config["num_layers"] = 3; });
  refused(
      "tensor prompt_embeddings has 32 columns, expected 8 or 48 by adapter_config.json (token_dim 8, num_layers 3)");
}

TEST_F(OneAdapter, LabelsThatAreNoListAreRefused) {
  write("lora");
  const std::filesystem::path file = adapter_ / "adapter_model.safetensors";
  const AdapterFiles files = read_adapter(adapter_);
  write_safetensors(file, files.tensors, {{"labels", "no, yes"}});
  refused("adapter_model.safetensors: metadata \"labels\": found no, yes, expected a list of strings");
  write_safetensors(file, files.tensors, {{"labels", R"(["a", "b", "c"])"}});
  refused("adapter_model.safetensors: 3 labels for a head of 2 outputs");
  write_safetensors(file, files.tensors, {{"labels", R"(["no", "yes"])"}});
  EXPECT_THAT(load_adapter(model_, adapter_).labels, testing::ElementsAre("no", "yes"));
}

TEST_F(OneAdapter, TensorsNamedLikeTheBaseModelReplaceIt) {
  for (const char* module : {"bert.pooler.dense", "bert.encoder.layer.0.attention.self.query"}) {
    SCOPED_TRACE(module);
    const std::string name = std::string(module) + ".weight";
    const at::Tensor weight = random_tensor(5, {8, 8}).to(at::kFloat);
    write("linear_probe", [&](AdapterFiles& files) { files.tensors["base_model.model." + name] = weight; });
    // The same network with the tensor in its own folder.
    auto tensors = TinyBert().tensors();
    tensors[name] = weight;
    Transformer changed =
        Transformer::load(TinyBert::write(folder_ / "changed", TinyBert().config(), tensors), "float32");
    MethodBank bank(changed, config_of("linear_probe"), {1}, at::kFloat);
    bank.perturb(0.3);
    Transformer fresh = load();
    testing::internal::CaptureStderr();
    LoadedAdapter loaded = load_adapter(fresh, adapter_);
    EXPECT_THAT(testing::internal::GetCapturedStderr(),
                HasSubstr("replaces " + name + " of the base model, as peft does"));
    EXPECT_LT(relative_error(logits(loaded, fresh), bank.logits(changed, make_input(kTexts))), 1e-6);
  }
}

TEST_F(OneAdapter, TrainedBiasesOfLoraReplaceTheBaseModels) {
  const std::string attention = "bert.encoder.layer.0.attention.self.";
  const at::Tensor query = random_tensor(5, {8}).to(at::kFloat), key = random_tensor(6, {8}).to(at::kFloat);
  for (const char* bias : {"lora_only", "all"}) {
    write("lora", [&](AdapterFiles& files) {
      files.config["bias"] = bias;
      files.tensors["base_model.model." + attention + "query.base_layer.bias"] = query;  // a target
      files.tensors["base_model.model." + attention + "key.bias"] = key;
      files.tensors["base_model.model.classifier.modules_to_save.bias"] = at::ones({2});
      files.tensors["base_model.model.classifier.original_module.bias"] = at::ones({2});
    });
    auto tensors = TinyBert().tensors();
    tensors[attention + "query.bias"] = query;
    tensors[attention + "key.bias"] = key;
    Transformer changed =
        Transformer::load(TinyBert::write(folder_ / "changed", TinyBert().config(), tensors), "float32");
    MethodBank bank(changed, config_of("lora"), {1}, at::kFloat);
    bank.perturb(0.3);
    Transformer fresh = load();
    testing::internal::CaptureStderr();
    LoadedAdapter loaded = load_adapter(fresh, adapter_);
    EXPECT_THAT(testing::internal::GetCapturedStderr(),
                AllOf(HasSubstr("ignored: base_model.model.classifier.modules_to_save.bias, "),
                      HasSubstr("replaces " + attention + "query.bias, " + attention + "key.bias of the base model")));
    EXPECT_LT(relative_error(logits(loaded, fresh), bank.logits(changed, make_input(kTexts))), 1e-6);
  }
}

TEST_F(OneAdapter, ABiasOfTheKeptHeadIsLoaded) {
  const at::Tensor bias = random_tensor(5, {2}).to(at::kFloat);
  write("lora", [&](AdapterFiles& files) {
    files.config["task_type"] = nullptr;
    files.config["bias"] = "all";
    files.tensors.erase("base_model.model.classifier.weight");
    files.tensors["base_model.model.classifier.bias"] = bias;
  });
  Transformer fresh = load();
  const LoadedAdapter loaded = load_adapter(fresh, adapter_);
  const TrainedLinear& head = *loaded.method->trained_module("classifier");
  EXPECT_TRUE(same_values(head.bias_KO[0], bias));
  EXPECT_TRUE(same_values(head.weight_KOC[0], model_.head_linear("classifier")->weight_OC));
}

TEST_F(OneAdapter, BringsThePoolerThatTheModelLacks) {
  auto tensors = TinyBert().tensors();
  std::erase_if(tensors, [](const auto& each) { return each.first.starts_with("bert.pooler."); });
  const auto folder = TinyBert::write(folder_ / "no_pooler", TinyBert().config(), tensors);
  for (const Json& config : {Json{{"type", "p_tuning_v2"}, {"num_virtual_tokens", 3}},
                             Json{{"type", "lora"}, {"r", 2}, {"modules_to_save", {"pooler"}}}}) {
    SCOPED_TRACE(config.dump());
    Transformer model = Transformer::load(folder, "float32"), fresh = Transformer::load(folder, "float32");
    MethodBank bank(model, config, {1}, at::kFloat);
    bank.perturb(0.3);
    const at::Tensor expected = bank.logits(model, make_input(kTexts));
    write_adapter(adapter_, bank->fold(0));
    LoadedAdapter loaded = load_adapter(fresh, adapter_);
    EXPECT_TRUE(same_values(logits(loaded, fresh), expected));
  }
}

TEST_F(OneAdapter, BadPatternsAreErrorsOfTheFile) {
  write("lora", [](AdapterFiles& files) { files.config["rank_pattern"] = Json{{"(a", 2}}; });
  refused("adapter_config.json: method.rank_pattern: \"");
  write("lora", [](AdapterFiles& files) { files.config["alpha_pattern"] = Json{{"(a", 2}}; });
  refused("adapter_config.json: method.alpha_pattern: \"");
}

TEST_F(OneAdapter, EntriesThatMatchNothingAreNamed) {
  write("lora", [](AdapterFiles& files) {
    files.config["rank_pattern"]["qurey"] = 9;
    files.config["alpha_pattern"]["key"] = 9;
    files.config["target_modules"] = {"query", "value", "k_proj"};
    files.config["exclude_modules"] = {"poolr", "classifier"};
  });
  Transformer fresh = load();
  testing::internal::CaptureStderr();
  load_adapter(fresh, adapter_);
  const std::string told = testing::internal::GetCapturedStderr();
  for (const char* entry : {"rank_pattern: \"qurey\" matches none of the adapted maps",
                            "alpha_pattern: \"key\" matches none of the adapted maps",
                            "target_modules: \"k_proj\" matches none of the adapted maps",
                            "exclude_modules: \"poolr\" matches no linear map"})
    EXPECT_THAT(told, HasSubstr(std::string("adapter_config.json: ") + entry));
  EXPECT_THAT(told, testing::Not(HasSubstr("classifier")));
}

TEST_F(OneAdapter, OfAnotherWidthIsRefused) {
  write("lora");
  Transformer wider = Transformer::load(TinyBert{.width = 12}.write(folder_ / "wider"), "float32");
  EXPECT_THAT([&] { load_adapter(wider, adapter_); }, ThrowsMessage<DataError>(HasSubstr("has shape [")));
}

TEST_F(OneAdapter, BrokenConfigsAreDataErrors) {
  write("lora");
  put(adapter_ / "adapter_config.json", "{\"peft_type\": \"LORA\"");
  refused("adapter_config.json");
  put(adapter_ / "adapter_config.json", "[]");
  refused("adapter_config.json: found array, expected an object");
}

TEST_F(OneAdapter, ReadsWhatPeftWrites) {
  // Keys and names of peft 0.21 for a LoRA adapter on BertForSequenceClassification: more
  // keys, a set for target_modules.
  write("lora", [](AdapterFiles& files) {
    files.config = parse_json(
        R"({"alpha_pattern": {"layer.1.*": 7}, "auto_mapping": null, "base_model_name_or_path": "x", "bias": "none", "corda_config": null,
      "eva_config": null, "exclude_modules": null, "fan_in_fan_out": false, "inference_mode": true, "init_lora_weights": true,
      "layer_replication": null, "layers_pattern": null, "layers_to_transform": null, "loftq_config": {}, "lora_alpha": 5,
      "lora_bias": false, "lora_dropout": 0.1, "megatron_config": null, "megatron_core": "megatron.core",
      "modules_to_save": ["classifier", "score"], "peft_type": "LORA", "qalora_group_size": 16, "r": 3, "rank_pattern": {"value": 2},
      "revision": null, "target_modules": ["value", "query"], "target_parameters": null, "task_type": "SEQ_CLS",
      "trainable_token_indices": null, "use_dora": false, "use_qalora": false, "use_rslora": true})",
        "test");
  });
  Transformer fresh = load();
  testing::internal::CaptureStderr();
  LoadedAdapter loaded = load_adapter(fresh, adapter_);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  MethodBank bank = trained("lora");
  EXPECT_TRUE(same_values(logits(loaded, fresh), bank.logits(model_, make_input(kTexts))));
}

TEST_F(OneAdapter, ModelFolderLoadsAgain) {
  put(folder_ / "model" / "vocab.txt", "[PAD]\n");
  MethodBank bank(model_, config_of("full"), {1}, at::kFloat);
  bank.perturb(0.1);
  const at::Tensor expected = bank.logits(model_, make_input(kTexts));
  AdapterFiles files = bank->fold(0);
  files.labels = {"no", "yes"};
  write_model_folder(folder_ / "out", files, model_);
  const Transformer again = Transformer::load(folder_ / "out", "auto");
  EXPECT_LT(relative_error(bare_logits(again, kTexts), expected), 1e-6);
  const Json config = read_json_file<DataError>(folder_ / "out" / "config.json");
  EXPECT_EQ(config.at("id2label"), (Json{{"0", "no"}, {"1", "yes"}}));
  EXPECT_EQ(config.at("label2id"), (Json{{"no", 0}, {"yes", 1}}));
  EXPECT_EQ(config.at("architectures"), Json::array({"BertForSequenceClassification"}));
  EXPECT_EQ(content_of(folder_ / "out" / "vocab.txt"), "[PAD]\n");
}

}  // namespace
}  // namespace peft
