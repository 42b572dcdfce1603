/// The method ntk_attention: its tensors, files and refusals. The attention itself: tests/kernels/state_test.cpp.

#include "tests/methods/ntk_method.h"

namespace peft {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

TEST_F(NtkMethod, PaddedReference) {
  struct Example {
    Json config;
    std::function<at::Tensor(const at::Tensor&)> phi;
    std::function<at::Tensor(const at::Tensor&)> den;
  };
  const auto abs = [](const at::Tensor& x) { return x.abs(); };
  const auto softplus = [](const at::Tensor& x) { return at::log1p(at::exp(x)); };
  const auto same = [](const at::Tensor& x) { return x; };
  for (const Example& e :
       {Example{Json::object(), kElu, abs}, Example{{{"den_transform", "softplus"}}, kElu, softplus},
        Example{{{"z_rank", 2}}, kElu, abs}, Example{{{"feature_map", "taylor1"}}, kTaylor1, same}}) {
    MethodBank bank(model_, ntk(e.config));
    bank.perturb(0.5);
    DenseBert padded = dense(bank);
    const at::Tensor z =
        e.config.contains("z_rank") ? at::matmul(value(bank, "z_a"), value(bank, "z_b")) : value(bank, "z");
    padded.state = {e.phi, z, e.den(value(bank, "den_raw")), {}, 0};
    EXPECT_LT(relative_error(bank.logits(model_, make_input(texts_)), padded.logits(texts_)), 1e-10) << e.config;
    EXPECT_GT(relative_error(bank.logits(model_, make_input(texts_)), dense(bank).logits(texts_)), 1e-3) << e.config;
  }
}

TEST_F(NtkMethod, InitialValues) {
  MethodBank small(model_, ntk()), low(model_, ntk({{"z_rank", 3}})), taylor(model_, ntk({{"feature_map", "taylor1"}}));
  for (const char* name : {"z", "den_raw"}) {
    const at::Tensor x = value(small, name);
    EXPECT_NEAR(x.std().item<double>(), 1e-4, 5e-4 / std::sqrt(2.0 * static_cast<double>(x.numel()))) << name;
  }
  EXPECT_NEAR(value(low, "z_a").std().item<double>(), 0.5, 5.0 * 0.5 / std::sqrt(2.0 * 48));
  EXPECT_EQ(value(low, "z_b").abs().max().item<double>(), 0.0);
  const at::Tensor den = value(taylor, "den_raw");
  EXPECT_LT((den.select(-1, 0) - 1e-4).abs().max().item<double>(), 1e-10);
  EXPECT_EQ(den.narrow(-1, 1, 4).abs().max().item<double>(), 0.0);
}

TEST_F(NtkMethod, CompatCodeSetsTheVisionScriptsSwitches) {
  const auto printed = [](const Json& more) {
    const auto config = method_config(ntk(more));
    return print_fields([&](Fields& fields) { config->visit(fields); });
  };
  const Json paper = printed(Json::object()), code = printed({{"compat", "code"}}),
             own = printed({{"compat", "code"}, {"init", "small"}, {"feature_dropout", 0.0}});
  EXPECT_EQ(paper["init"], "small");
  EXPECT_EQ(paper["freeze_den"], false);
  EXPECT_EQ(paper["feature_dropout"], 0.0);
  EXPECT_EQ(paper["dropout_in_eval"], false);
  EXPECT_EQ(code["init"], "zero");
  EXPECT_EQ(code["freeze_den"], true);
  EXPECT_EQ(code["feature_dropout"], 0.2);
  EXPECT_EQ(code["dropout_in_eval"], true);
  EXPECT_EQ(own["init"], "small");
  EXPECT_EQ(own["feature_dropout"], 0.0);
  EXPECT_EQ(own["dropout_in_eval"], true);
}

TEST_F(NtkMethod, FrozenDenominatorIsStoredButNotTrained) {
  MethodBank bank(model_, ntk({{"freeze_den", true}})), other(model_, ntk({{"freeze_den", true}}), {9});
  EXPECT_THROW(bank->parameter("den_raw"), Error);
  EXPECT_EQ(bank->trainable_parameters(), 2 * 2 * 4 * 4 + 18);
  EXPECT_FALSE(bank->stores_trained_values());
  bank.perturb();
  const auto files = bank->fold(0);
  EXPECT_EQ(files.tensors.at("base_model.model.bert.encoder.layer.1.attention.self.ntk_den").sizes(),
            (std::vector<int64_t>{2, 4}));
  other->load(0, files, true);
  EXPECT_TRUE(same_values(other.logits(model_, make_input(texts_)), bank.logits(model_, make_input(texts_))));
}

TEST_F(NtkMethod, ChosenLayersAlone) {
  for (const Json& layers : {Json("first"), Json{1}}) {
    MethodBank bank(model_, ntk({{"layers", layers}}));
    bank.perturb(0.5);
    const int64_t layer = layers == "first" ? 0 : 1;
    DenseBert padded = dense(bank);
    at::Tensor z = at::zeros({2, 2, 4, 4}, at::kDouble), den = at::zeros({2, 2, 4}, at::kDouble);
    z[layer].copy_(value(bank, "z")[0]);
    den[layer].copy_(value(bank, "den_raw")[0].abs());
    padded.state = {kElu, z, den, {}, 0};
    EXPECT_LT(relative_error(bank.logits(model_, make_input(texts_)), padded.logits(texts_)), 1e-10);
    int states = 0;
    for (const auto& [name, tensor] : bank->fold(0).tensors) states += name.find(".ntk_") != std::string::npos;
    EXPECT_EQ(states, 2);
  }
}

TEST_F(NtkMethod, SoftplusFoldsExactly) {
  MethodBank trained(model_, ntk({{"den_transform", "softplus"}})), reader(model_, ntk());
  trained.perturb(2.0);
  EXPECT_TRUE(trained->stores_trained_values());
  const at::Tensor expected = trained.logits(model_, make_input(texts_));
  reader->load(0, trained->fold(0), true);  // the file's denominator needs no softplus any more
  EXPECT_LT(relative_error(reader.logits(model_, make_input(texts_)), expected), 1e-12);
  MethodBank again(model_, ntk({{"den_transform", "softplus"}}), {5});
  again->load(0, trained->fold(0), true);
  EXPECT_LT(relative_error(again.logits(model_, make_input(texts_)), expected), 1e-12);
  again->load_trained(0, trained->trained_tensors(0), "test", true);
  EXPECT_TRUE(same_values(again.logits(model_, make_input(texts_)), expected));
}

TEST_F(NtkMethod, FileOfALowRankState) {
  MethodBank bank(model_, ntk({{"z_rank", 2}, {"feature_map", "taylor1"}}));
  const AdapterFiles files = bank->fold(0);
  const std::string module = "base_model.model.bert.encoder.layer.0.attention.self";
  EXPECT_EQ(files.tensors.at(module + ".ntk_z_a").sizes(), (std::vector<int64_t>{2, 5, 2}));
  EXPECT_EQ(files.tensors.at(module + ".ntk_z_b").sizes(), (std::vector<int64_t>{2, 2, 4}));
  EXPECT_FALSE(files.tensors.contains(module + ".ntk_Z"));
  EXPECT_EQ(files.config.at("feature_dim"), 5);
  EXPECT_EQ(files.config.at("z_rank"), 2);
  EXPECT_EQ(files.config.at("num_virtual_tokens"), 0);
  EXPECT_EQ(files.config.at("target_modules"),
            (Json{"bert.encoder.layer.0.attention.self", "bert.encoder.layer.1.attention.self"}));
}

TEST_F(NtkMethod, GatedRowsAreReportedOncePerEvaluation) {
  MethodBank bank(model_, ntk({{"feature_map", "taylor1"}}));
  at::NoGradGuard no_grad;
  at::Tensor den = bank->parameter("den_raw").value[0];
  den[1].select(-1, 0).fill_(-1.0);  // layer 1: b = -1 whatever the query; layer 0 stays positive
  Json facts;
  const auto warnings = [&](bool training) {
    testing::internal::CaptureStderr();
    bank.context.training = training;
    for (int pass = 0; pass < 3; ++pass) bank.logits(model_, make_input(texts_));
    facts = bank->end_evaluation();
    return testing::internal::GetCapturedStderr();
  };
  const std::string text = warnings(false);
  EXPECT_THAT(
      text,
      HasSubstr("ntk_attention: rows whose state is off because its denominator is not positive: 100 % in layer 1"));
  EXPECT_EQ(facts, (Json{{"gated_rows", {{"0", 0.0}, {"1", 1.0}}}}));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  EXPECT_EQ(warnings(true), "");
  den[1].select(-1, 0).fill_(1.0);
  EXPECT_EQ(warnings(false), "");
}

TEST_F(NtkMethod, DropoutInEvaluation) {
  const Json on{{"feature_dropout", 0.5}, {"dropout_in_eval", true}}, off{{"feature_dropout", 0.5}};
  MethodBank dropped(model_, ntk(on)), plain(model_, ntk(off)), none(model_, ntk());
  for (MethodBank* bank : {&dropped, &plain, &none}) bank->perturb(0.5);
  const at::Tensor first = dropped.logits(model_, make_input(texts_));
  EXPECT_TRUE(same_values(plain.logits(model_, make_input(texts_)), none.logits(model_, make_input(texts_))));
  EXPECT_GT(relative_error(first, none.logits(model_, make_input(texts_))), 1e-3);
  EXPECT_TRUE(same_values(dropped.logits(model_, make_input(texts_)), first));
  plain.context.training = true;  // without dropout of the backbone, the features' is all that training adds
  EXPECT_GT(relative_error(plain.logits(model_, make_input(texts_)), none.logits(model_, make_input(texts_))), 1e-3);
}

TEST_F(NtkMethod, BadConfigsAreRefused) {
  refused({{"init", "zero"}}, "method.init: found \"zero\", expected \"small\"");  // Ntk.DeadDenominatorIsRefused
  refused({{"init", "zero"}, {"freeze_den", true}, {"feature_map", "taylor1"}}, "method.init: found \"zero\"");
  refused({{"init", "zero"}, {"freeze_den", true}, {"den_transform", "softplus"}}, "method.init: found \"zero\"");
  refused({{"compat", "code"}, {"freeze_den", false}}, "method.init: found \"zero\"");
  refused({{"feature_map", "taylor2"}}, "method.z_rank: missing; taylor2 trained from scratch needs one");
  refused({{"z_rank", 4}}, "method.z_rank: found 4, expected 1 to 3 for Z of 4 x 4");
  refused({{"z_rank", 0}}, "z_rank: found 0");
  refused({{"feature_map", "taylor1"}, {"den_transform", "softplus"}},
          "method.den_transform: found \"softplus\", expected \"abs\"");
  refused({{"mode", "compress"}, {"feature_map", "taylor1"}}, "method.prefix_from: required by mode \"compress\"");
  refused({{"mode", "compress"}, {"prefix_from", "x"}},
          "method.feature_map: found \"elu\", expected taylor1 or taylor2");
  refused({{"mode", "compress"}, {"prefix_from", "x"}, {"feature_map", "taylor1"}, {"layers", "first"}},
          "method.layers: found \"first\"");
  refused({{"mode", "compress"}, {"prefix_from", "x"}, {"feature_map", "taylor1"}, {"init_from", "y"}},
          "method.init_from: only for mode \"train\"");
  refused({{"prefix_from", "x"}}, "method.prefix_from: only for mode \"compress\", found mode \"train\"");
  refused({{"feature_map", "taylor1"}, {"center", true}}, "method.center: only for mode \"compress\"");
  refused({{"layers", {0, 2}}}, "method.layers: found [0,2], expected indices 0 to 1");
  refused({{"stacks", {"cross"}}}, "method.stacks: found \"cross\", but bert has only \"encoder_self\"");
  refused({{"stacks", "cross"}}, "method.stacks: found \"cross\"");
  refused({{"layers", "last"}}, "method.layers: found \"last\"");
  refused({{"layers", Json::array()}}, "method.layers: found []");
  refused({{"feature_dropout", 1.0}}, "feature_dropout: found 1.0");
  refused({{"feature_map", "relu"}}, "feature_map: found \"relu\"");
  const TemporaryFolder folder;
  Transformer wide = Transformer::load(TinyBert{.width = 257, .heads = 1, .layers = 1}.write(folder.path()), "float32");
  EXPECT_THAT([&] { MethodBank(wide, ntk()); },
              ThrowsMessage<ConfigError>(
                  HasSubstr("method.type: \"ntk_attention\" takes heads of at most 256 columns, the model has 257")));
}

TEST_F(NtkMethod, FilesOfAnotherStateAreRefused) {
  MethodBank elu(model_, ntk()), taylor(model_, ntk({{"feature_map", "taylor1"}}));
  const auto refuses = [&](const std::function<void(AdapterFiles&)>& change, const std::string& message) {
    AdapterFiles files = elu->fold(0);
    files.origin = "there";
    change(files);
    EXPECT_THAT(
        [&] {
          elu->load(0, files, true);
          recognise_adapter(files);
        },
        ThrowsMessage<DataError>(HasSubstr(message)));
  };
  const std::string module = "base_model.model.bert.encoder.layer.0.attention.self.";
  refuses([](AdapterFiles& f) { f.config["feature_map"] = "taylor1"; },
          "there/adapter_config.json: feature_map: found taylor1, the method has elu");
  refuses([](AdapterFiles& f) { f.config["num_virtual_tokens"] = 5; }, "num_virtual_tokens: found 5, the method has 0");
  refuses(
      [&](AdapterFiles& f) {
        f.tensors[module + "ntk_den"] = -at::ones({2, 4}, at::kDouble);
      },
      "ntk_den has negative values");
  refuses(
      [&](AdapterFiles& f) {
        f.tensors[module + "ntk_center"] = at::zeros({2, 4});
      },
      "center: found false, but tensor");
  refuses([](AdapterFiles& f) { f.config["z_rank"] = 1000000000; }, "but adapter_config.json says z_rank 1000000000");
}

}  // namespace
}  // namespace peft
