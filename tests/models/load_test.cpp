#include <gmock/gmock.h>

#include <fstream>

#include "peft/base/error.h"
#include "tests/base/temporary_folder.h"
#include "tests/support/tiny_bert.h"

namespace peft {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;
using Tensors = std::map<std::string, at::Tensor>;

const std::vector<Text> kTexts{random_text(1, 5), random_text(2, 3)};

class LoadModel : public testing::Test {
 protected:
  TemporaryFolder folder_;
  TinyBert tiny_;
  Json config_ = tiny_.config();
  Tensors tensors_ = tiny_.tensors();

  Transformer load(const std::string& dtype = "float64") {
    return Transformer::load(TinyBert::write(folder_.path(), config_, tensors_), dtype);
  }
  at::Tensor logits() { return bare_logits(load(), kTexts); }

  /// Both parts and the folder's name stand in one line of a DataError.
  void refused(const std::string& part, const std::string& other = "") {
    EXPECT_THAT([&] { load(); }, ThrowsMessage<DataError>(AllOf(HasSubstr(folder_.path().string()), HasSubstr(part),
                                                                HasSubstr(other), testing::Not(HasSubstr("\n")))));
  }
  void rename(const std::function<std::string(const std::string&)>& to) {
    Tensors renamed;
    for (const auto& [name, tensor] : tensors_) renamed[to(name)] = tensor;
    tensors_ = renamed;
  }
};

std::string without_prefix(const std::string& name) { return name.starts_with("bert.") ? name.substr(5) : name; }

TEST_F(LoadModel, TheBasePrefixMayBeAbsent) {
  const at::Tensor expected = logits();
  rename(without_prefix);
  EXPECT_TRUE(same_values(logits(), expected));
}

TEST_F(LoadModel, GammaAndBetaAreOldNamesOfNorms) {
  const at::Tensor expected = logits();
  rename([](std::string name) {
    const auto at = name.find("LayerNorm.");
    if (at == std::string::npos) return name;
    return name.substr(0, at) + (name.ends_with("weight") ? "LayerNorm.gamma" : "LayerNorm.beta");
  });
  EXPECT_TRUE(same_values(logits(), expected));
}

TEST_F(LoadModel, BuffersAndPretrainingHeadsAreIgnoredInSilence) {
  const at::Tensor expected = logits();
  tensors_["bert.embeddings.position_ids"] = at::arange(40, at::kLong).unsqueeze(0);
  tensors_["cls.predictions.bias"] = at::zeros({23});
  testing::internal::CaptureStderr();
  EXPECT_TRUE(same_values(logits(), expected));
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  rename(without_prefix);
  EXPECT_TRUE(same_values(logits(), expected));
}

TEST_F(LoadModel, UnknownTensorsAreOneWarning) {
  const at::Tensor expected = logits();
  for (int i = 0; i < 7; ++i) tensors_["bert.extra." + std::to_string(i)] = at::zeros({2});
  testing::internal::CaptureStderr();
  EXPECT_TRUE(same_values(logits(), expected));
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("7 tensors are not used by this architecture: bert.extra.0, bert.extra.1"));
}

TEST_F(LoadModel, ABareModelHasNoClassifier) {
  tiny_ = {.labels = 0};
  config_ = tiny_.config();
  tensors_ = tiny_.tensors();
  const Transformer model = load();
  EXPECT_EQ(model.head_linear("classifier"), nullptr);
  EXPECT_NE(model.head_linear("bert.pooler.dense"), nullptr);
  EXPECT_THAT([&] { bare_logits(model, kTexts); },
              ThrowsMessage<DataError>(HasSubstr("tensor classifier.weight is missing and no adapter brings it")));
}

TEST_F(LoadModel, RowsOfTheHeadDecideTheLabels) {
  tiny_.labels = 5;
  tensors_ = tiny_.tensors();
  EXPECT_EQ(load().spec().labels, 5);
}

TEST_F(LoadModel, MissingTensorsAreNamed) {
  tensors_.erase("bert.encoder.layer.1.output.dense.weight");
  refused("tensor bert.encoder.layer.1.output.dense.weight is missing");
}

TEST_F(LoadModel, ShapesAreCheckedAgainstTheConfig) {
  tensors_["bert.encoder.layer.0.intermediate.dense.weight"] = at::zeros({16, 9});
  refused("bert.encoder.layer.0.intermediate.dense.weight has shape [16, 9], expected [16, 8] by config.json");
  tensors_ = tiny_.tensors();
  config_["vocab_size"] = 24;
  refused("bert.embeddings.word_embeddings.weight has shape [23, 8], expected [24, 8]");
}

TEST_F(LoadModel, TheHeadsBiasHasOneNumberPerLabel) {
  tensors_["classifier.bias"] = at::zeros({3});
  refused("classifier.bias has shape [3], expected [2]");
}

TEST_F(LoadModel, IntegerWeightsAreRefused) {
  tensors_["bert.encoder.layer.0.attention.self.query.weight"] = at::zeros({8, 8}, at::kLong);
  refused("bert.encoder.layer.0.attention.self.query.weight has dtype I64, expected a floating-point one");
}

TEST_F(LoadModel, TwoSpellingsOfOneTensorAreRefused) {
  tensors_["bert.embeddings.LayerNorm.gamma"] = at::zeros({8});
  refused("bert.embeddings.LayerNorm.gamma", "two spellings of bert.embeddings.LayerNorm.weight");
}

TEST_F(LoadModel, UnsupportedConfigsAreRefusedByKey) {
  const auto with = [&](const std::string& key, const Json& value, const std::string& message) {
    SCOPED_TRACE(key);
    config_ = tiny_.config();
    config_[key] = value;
    refused("config.json", message);
  };
  with("model_type", "gpt17", "model_type \"gpt17\" is not supported (known: bert");
  with("is_decoder", true, "is_decoder: true is not supported for model_type bert");
  with("add_cross_attention", true, "add_cross_attention: true is not supported");
  with("position_embedding_type", "relative_key",
       "position_embedding_type: found \"relative_key\", expected \"absolute\"");
  with("hidden_act", "mish", "hidden_act: activation \"mish\" is not supported (known: gelu,");
  with("hidden_size", "8", "hidden_size: found \"8\", expected an integer >= 0");
  with("hidden_size", -8, "hidden_size: found -8, expected an integer >= 0");
  with("num_attention_heads", 3, "hidden_size 8 is not a multiple of num_attention_heads 3");
  with("num_attention_heads", 0, "num_attention_heads 0");
  with("num_hidden_layers", 0, "num_hidden_layers: found 0, expected at least 1");
  with("layer_norm_eps", "small", "layer_norm_eps: found \"small\", expected a number");
  with("hidden_dropout_prob", 1.0, "hidden_dropout_prob: found 1.0, expected a number in [0, 1)");
  with("attention_probs_dropout_prob", -0.1, "attention_probs_dropout_prob: found -0.1, expected a number in [0, 1)");
  with("classifier_dropout", 2, "classifier_dropout: found 2.0, expected a number in [0, 1)");
  with("model_type", 3, "model_type: found 3, expected a string");
}

TEST_F(LoadModel, AConfigThatIsNoObjectIsRefused) {
  config_ = Json::array({1});
  refused("config.json: found array, expected an object");
}

TEST_F(LoadModel, DtypeAutoFollowsTheFolder) {
  EXPECT_EQ(load("auto").dtype(), at::kFloat);
  for (auto& [name, tensor] : tensors_) tensor = tensor.to(at::kBFloat16);
  EXPECT_EQ(load("auto").dtype(), at::kBFloat16);
  config_["dtype"] = "float32";
  EXPECT_EQ(load("auto").dtype(), at::kFloat);
  config_.erase("dtype");
  config_["torch_dtype"] = "bfloat16";
  EXPECT_EQ(load("auto").dtype(), at::kBFloat16);
  EXPECT_THAT([&] { load("int8"); },
              ThrowsMessage<ConfigError>(
                  HasSubstr("model.dtype: dtype \"int8\" is not supported (known: float32, bfloat16, auto)")));
}

TEST_F(LoadModel, SitesAreNamedAsPeftNamesThem) {
  std::vector<std::string> modules;
  const Transformer model = load();
  for (const Linear* site : model.linear_sites()) modules.push_back(site->module);
  EXPECT_EQ(modules.size(), 2 * 6 + 2);
  EXPECT_EQ(modules.front(), "bert.encoder.layer.0.attention.self.query");
  EXPECT_THAT(modules, testing::IsSupersetOf({"bert.encoder.layer.1.output.dense", "bert.pooler.dense", "classifier"}));
}

TEST_F(LoadModel, NamedTensorsAreThoseOfTheFile) {
  const Transformer model = load("float32");
  const auto named = model.named_tensors();
  EXPECT_EQ(named.size(), tensors_.size());
  for (const auto& [name, tensor] : tensors_) EXPECT_TRUE(same_values(named.at(name), tensor)) << name;
}

TEST(Architectures, EveryFileThatRegistersIsKnownByItsName) {
  std::size_t registering = 0;
  for (const auto& file : std::filesystem::directory_iterator(std::filesystem::path(PEFT_SOURCE_DIR) / "src/models")) {
    if (file.path().extension() != ".cpp" || content_of(file.path()).find("architectures().add(") == std::string::npos)
      continue;
    ++registering;
    EXPECT_NE(architectures().find(file.path().stem().string()), nullptr) << file.path().filename();
  }
  EXPECT_EQ(architectures().names().size(), registering);
  EXPECT_GE(registering, 1U);
}

}  // namespace
}  // namespace peft
