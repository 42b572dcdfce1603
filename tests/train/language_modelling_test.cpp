/// language_modelling through the whole trainer, on the network of the tests: a decoder, and an encoder-decoder.

#include <gtest/gtest.h>

#include <ATen/core/grad_mode.h>

#include <csignal>
#include <fstream>

#include "peft/base/error.h"
#include "peft/data/task.h"
#include "peft/interop/adapter_folder.h"
#include "peft/train/batch.h"
#include "peft/train/evaluate.h"
#include "peft/train/trainer.h"
#include "tests/support/bank_runs.h"
#include "tests/support/test_network.h"

namespace peft {
namespace {

const bool registered = task_registry().add("test-texts", {.sequences = {{"{text}"}},
                                                           .target = TargetKind::text,
                                                           .objective = "language_modelling",
                                                           .own_files = true,
                                                           .metrics = {"perplexity"}});

/// The target repeats the text's first word, as often as the text has words.
class LanguageModelling : public testing::TestWithParam<const char*> {
 protected:
  LanguageModelling() {
    std::filesystem::remove_all(folder_);
    TestNetwork network{.stacks = GetParam(), .layers = 2, .width = 16, .heads = 2, .kv_heads = 2, .head_dim = 8};
    network.output = "tied";
    network.norm_place = "pre";
    network.final_norm = true;
    network.token_types = 0;
    network.dropout = {{"feed_forward", 0.1}};
    network.write(folder_ / "model");
    std::string vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
    for (int i = 0; i < 18; ++i) vocabulary += "w" + std::to_string(i) + "\n";
    write_atomic(folder_ / "model" / "vocab.txt", vocabulary);
    write_atomic(folder_ / "model" / "tokenizer_config.json", R"({"tokenizer_class": "BertTokenizer"})");
    write_texts("train", 60);
    write_texts("dev", 25);
  }

  void write_texts(const std::string& split, int64_t count) const {
    std::string lines;
    for (int64_t i = 0; i < count; ++i) {
      const RngStream stream(3, split, static_cast<uint64_t>(i));
      const auto words = static_cast<int64_t>(1 + stream.below(0, 5));
      std::string text, target;
      for (int64_t w = 0; w < words; ++w) {
        text += " w" + std::to_string(stream.below(1 + w, 18));
        target += " " + (w == 0 ? text.substr(1) : target.substr(1, target.find(' ', 1) - 1));
      }
      lines += Json{{"text", text.substr(1)}, {"label", target.substr(1)}}.dump() + "\n";
    }
    write_atomic(folder_ / "data" / (split + ".jsonl"), lines);
  }

  RunConfig run(const std::string& output, const Json& train = Json::object(), int64_t seed = 1) const {
    Json json = {{"model", {{"path", (folder_ / "model").string()}}},
                 {"task", {{"name", "test-texts"}, {"data", (folder_ / "data").string()}, {"max_length", 12}}},
                 {"method", {{"type", "lora"}, {"r", 8}, {"lora_alpha", 16}, {"target_modules", "all-linear"}}},
                 {"train",
                  {{"batch_size", 8},
                   {"gradient_accumulation_steps", 2},
                   {"max_steps", 60},
                   {"learning_rate", 0.01},
                   {"logging_steps", 1},
                   {"seed", seed},
                   {"device", "cpu"},
                   {"num_threads", 1}}},
                 {"output", (folder_ / output).string()}};
    json["train"].update(train);
    return RunConfig::from_json(json, "test.json");
  }

  std::filesystem::path folder_ = std::filesystem::path(testing::TempDir()) / (std::string("lm-") + GetParam());
};

std::vector<Json> lines_of(const std::filesystem::path& file) {
  std::vector<Json> lines;
  std::ifstream text(file);
  for (std::string line; std::getline(text, line);) lines.push_back(Json::parse(line));
  return lines;
}

/// -log p of every target token from whole passes that give all rows.
double loss_by_hand(const Transformer& model, Sockets& method, const EncodedSplit& split) {
  double sum = 0.0;
  int64_t tokens = 0;
  for (int64_t e = 0; e < split.size(); ++e) {
    const auto given = split.sequence_ids(e);
    const auto wanted = split.example_target_ids(e);
    std::vector<int64_t> source(given.begin(), given.end()), target{model.spec().decoder_start};
    const auto before = static_cast<int64_t>(source.size());
    (model.stacks().size() == 1 ? source : target)
        .insert((model.stacks().size() == 1 ? source : target).end(), wanted.begin(), wanted.end());
    const auto tokens_of = [](const std::vector<int64_t>& ids) {
      const at::Tensor ids_T = at::tensor(at::ArrayRef<int64_t>(ids), at::kLong);
      return Tokens{ids_T, at::zeros_like(ids_T), make_batch({static_cast<int64_t>(ids.size())})};
    };
    ModelInput input{tokens_of(source)};
    if (model.stacks().size() > 1) input.target = tokens_of(target);
    const at::Tensor logits =
        model.logits(model.hidden(input, method, {}, {.rows = Selection::Rows::all}).x_SC).to(at::kDouble);
    const int64_t first = model.stacks().size() == 1 ? before - 1 : 0;
    for (std::size_t t = 0; t < wanted.size(); ++t, ++tokens)
      sum -= at::log_softmax(logits[first + static_cast<int64_t>(t)], 0)[wanted[t]].item<double>();
  }
  return sum / static_cast<double>(tokens);
}

TEST_P(LanguageModelling, TrainsEvaluatesAndGoesOn) {
  const auto done = train_bank({run("whole")}, {}).front();
  ASSERT_EQ(done.code, ExitCode::done) << done.message;
  const auto log = lines_of(folder_ / "whole" / "log.jsonl");
  const double first = log.front().at("loss").get<double>(), last = done.metrics.at("eval_loss").get<double>();
  EXPECT_LT(last, 0.7 * first);
  EXPECT_NEAR(done.metrics.at("eval_perplexity").get<double>(), std::exp(last), 1e-4 * std::exp(last));

  int step = 0;
  TrainOptions stops{.resume = false, .progress = [&](double, const std::string&) {
                       if (++step == 23) std::raise(SIGTERM);
                     }};
  EXPECT_EQ(train_bank({run("cut")}, stops).front().code, ExitCode::interrupted);
  EXPECT_EQ(train_bank({run("cut")}, {.resume = true}).front().code, ExitCode::done);
  EXPECT_EQ(difference(folder_ / "cut" / "last", folder_ / "whole" / "last"), 0.0);
  Transformer model = Transformer::load(folder_ / "model", "float32");
  const LoadedAdapter best = load_adapter(model, folder_ / "whole");
  const RunConfig config = run("whole");
  const Dataset data = load_dataset(config.task, config.data, *Tokenizer::load(folder_ / "model"), {"dev"});
  EXPECT_NEAR(evaluate(model, *best.method, 0, *data.find("dev"), data.task).loss, last, 1e-6);
  EXPECT_EQ(read_json_file<DataError>(folder_ / "whole" / "best" / "adapter_config.json").at("task_type"),
            std::string(GetParam()) == "decoder" ? "CAUSAL_LM" : "SEQ_2_SEQ_LM");
}

TEST_P(LanguageModelling, TheLossOfASplitIsTheMeanOverItsTargetTokens) {
  RunConfig config = run("none");
  Transformer model = Transformer::load(folder_ / "model", "float64");
  const auto tokenizer = Tokenizer::load(folder_ / "model");
  const Dataset data = load_dataset(config.task, config.data, *tokenizer, {"dev"});
  BankSpec spec;
  spec.configs = {&*config.method};
  spec.seeds = {1};
  spec.dtype = at::kDouble;
  const auto method = make_method(model, spec);
  {
    const at::NoGradGuard no_grad;
    for (const Parameter& p : method->parameters()) p.value.add_(random_tensor(hash64(p.name), p.value.sizes(), 0.05));
  }
  const EncodedSplit& dev = *data.find("dev");
  const Evaluation found = evaluate(model, *method, 0, dev, data.task);
  const at::NoGradGuard no_grad;
  const DropoutContext none;
  method->begin_pass(none);
  EXPECT_NEAR(found.loss, loss_by_hand(model, *method, dev), 1e-6);
}

TEST_P(LanguageModelling, ATargetLongerThanTheTableIsRefusedBeforeAnythingIsWritten) {
  std::string target;
  for (int i = 0; i < 41; ++i) target += i == 0 ? "w1" : " w1";
  write_atomic(folder_ / "data" / "dev.jsonl", Json{{"text", "w1"}, {"label", target}}.dump() + "\n");
  try {
    train_bank({run("long")}, {});
    FAIL();
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("dev.jsonl: idx 0: a target that takes"), std::string::npos)
        << error.what();
    EXPECT_NE(std::string(error.what()).find("the model has 40"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(std::filesystem::exists(folder_ / "long"));
}

TEST_P(LanguageModelling, ABankEqualsSingleRuns) {
  const Json steps{{"max_steps", 8}};
  const std::vector<RunConfig> bank{run("bank1", steps, 1),
                                    run("bank2", {{"max_steps", 8}, {"learning_rate", 0.02}}, 2)};
  train_bank(bank, {});
  train_bank({run("one1", steps, 1)}, {});
  train_bank({run("one2", {{"max_steps", 8}, {"learning_rate", 0.02}}, 2)}, {});
  for (const std::string k : {"1", "2"})
    EXPECT_LT(difference(folder_ / ("bank" + k) / "last", folder_ / ("one" + k) / "last"), 1e-5) << k;
}

INSTANTIATE_TEST_SUITE_P(Networks, LanguageModelling, testing::Values("decoder", "encoder-decoder"),
                         [](const auto& each) { return std::string(each.param) == "decoder" ? "Decoder" : "Both"; });

}  // namespace
}  // namespace peft
