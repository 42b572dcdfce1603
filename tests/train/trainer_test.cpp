#include "peft/train/trainer.h"

#include <gmock/gmock.h>

#include <csignal>
#include <sstream>

#include "peft/interop/adapter_folder.h"
#include "peft/tensor/safetensors.h"
#include "peft/train/features.h"
#include "tests/support/bank_runs.h"

namespace peft {
namespace {

using testing::HasSubstr;

class BankOfFour : public testing::TestWithParam<Json> {};

/// Seeds, rates, decays, schedules, step counts and data orders differ; dropout is on.
TEST_P(BankOfFour, EqualsFourSingleRuns) {
  const TinyTask task("bank_" + label_of(GetParam()), 0.1);
  const std::vector<Json> train{{{"seed", 1}, {"learning_rate", 0.01}},
                                {{"seed", 2}, {"learning_rate", 0.003}, {"weight_decay", 0.1}},
                                {{"seed", 3},
                                 {"learning_rate", 0.02},
                                 {"lr_scheduler_type", "cosine"},
                                 {"warmup_steps", 3},
                                 {"max_grad_norm", 0.1}},
                                {{"seed", 4}, {"learning_rate", 0.005}, {"data_seed", 9}, {"max_steps", 7}}};
  std::vector<RunConfig> bank;
  for (std::size_t k = 0; k < train.size(); ++k)
    bank.push_back(task.run("bank" + std::to_string(k), GetParam(), train[k]));
  for (const JobResult& result : train_bank(bank, {})) EXPECT_EQ(result.code, ExitCode::done) << result.message;
  for (std::size_t k = 0; k < train.size(); ++k) {
    const RunConfig single = task.run("single" + std::to_string(k), GetParam(), train[k]);
    ASSERT_EQ(train_bank({single}, {}).front().code, ExitCode::done);
    // float32 products over other row counts round differently; AdamW's first steps divide by gradients of that size.
    EXPECT_LT(difference(bank[k].output + "/last", single.output + "/last"), 2e-5) << "adapter " << k;
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, BankOfFour, testing::ValuesIn(bank_methods()),
                         [](const auto& instance) { return label_of(instance.param); });

TEST(TrainBank, SameConfigTwiceGivesEqualBytes) {
  const TinyTask task("repeatable", 0.1);
  for (const Json& method : bank_methods()) {
    for (const char* output : {"a", "b"}) {
      std::filesystem::remove_all(task.folder / output);
      ASSERT_EQ(train_bank({task.run(output, method)}, {}).front().code, ExitCode::done);
    }
    for (const char* file :
         {"best/adapter_model.safetensors", "last/adapter_model.safetensors", "last/adapter_config.json", "log.jsonl",
          "checkpoint/state.safetensors", "predictions/dev.jsonl"}) {
      EXPECT_EQ(file_text(task.folder / "a" / file), file_text(task.folder / "b" / file))
          << label_of(method) << " " << file;
    }
  }
}

TEST(TrainBank, MicroBatchesOfAStepEqualOneBatch) {
  const TinyTask task("accumulation", 0.1);
  const Json method = {{"type", "lora"}, {"r", 2}};
  const RunConfig whole = task.run("whole", method, {{"batch_size", 8}});
  const RunConfig parts = task.run("parts", method, {{"batch_size", 2}, {"gradient_accumulation_steps", 4}});
  for (const RunConfig& config : {whole, parts}) ASSERT_EQ(train_bank({config}, {}).front().code, ExitCode::done);
  EXPECT_LT(difference(whole.output + "/last", parts.output + "/last"),
            2e-5);  // the same masks too: they are named by example
}

/// Batches of one step differ in size: each job's mean is over its own examples.
TEST(TrainBank, JobsMayHaveFewerRows) {
  const TinyTask task("sizes");
  const auto run = [&](const std::string& output, int64_t rows) {
    Json config = task.config(output, {{"type", "lora"}, {"r", 2}});
    config["data"]["limit"]["train"] = rows;
    return RunConfig::from_json(config, "test.json");
  };
  const std::vector<RunConfig> bank{run("bank12", 12), run("bank50", 50), run("bank3", 3)},
      singles{run("single12", 12), run("single50", 50), run("single3", 3)};
  for (const JobResult& result : train_bank(bank, {})) ASSERT_EQ(result.code, ExitCode::done) << result.message;
  for (std::size_t k = 0; k < bank.size(); ++k) {
    ASSERT_EQ(train_bank({singles[k]}, {}).front().code, ExitCode::done);
    EXPECT_LT(difference(bank[k].output + "/last", singles[k].output + "/last"), 2e-5) << k;
  }
}

/// Equal texts in one step get different masks, so their mean loss is not that of one of each.
TEST(TrainBank, EveryExampleOfAStepHasItsOwnMasks) {
  const TinyTask task("masks", 0.3);
  const auto first_loss = [&](const std::string& rows, int64_t batch_size) {
    write_atomic(task.folder / "data" / "train.tsv", "label\ttext\n" + rows);
    const RunConfig config = task.run("batch" + std::to_string(batch_size), {{"type", "lora"}, {"r", 2}},
                                      {{"batch_size", batch_size}, {"max_steps", 1}});
    return train_bank({config}, {}).front().metrics.at("train_loss").get<double>();
  };
  const std::string rows = "yes\tw0 w1 w2 w3\nno\tw4 w5\n";
  EXPECT_GT(std::abs(first_loss(rows, 2) - first_loss(rows + rows, 4)), 1e-4);
}

/// A text of infinite embeddings makes its steps void: what is left are the steps of the other text, and Adam counts only those.
TEST(TrainBank, SkippedStepsAreNoUpdates) {
  const TinyTask task("skipped");
  const auto model = task.folder / "model" / "model.safetensors";
  std::map<std::string, at::Tensor> tensors;
  for (const SafetensorsFile file(model); const auto& [name, entry] : file.entries())
    tensors[name] = file.tensor(name).clone();
  tensors.at("bert.embeddings.word_embeddings.weight")[22].fill_(std::numeric_limits<float>::infinity());  // w17
  write_safetensors(model, tensors);
  const auto run = [&](const std::string& output, const std::string& rows, int64_t steps) {
    write_atomic(task.folder / "data" / "train.tsv", "label\ttext\n" + rows);
    Json config = task.config(output, {{"type", "lora"}, {"r", 2}},
                              {{"batch_size", 1}, {"max_steps", steps}, {"lr_scheduler_type", "constant"}});
    config["data"]["labels"] = {"no", "yes"};
    const RunConfig resolved = RunConfig::from_json(config, "test.json");
    EXPECT_EQ(train_bank({resolved}, {}).front().code, ExitCode::done);
    return resolved.output + "/last";
  };
  const std::string good = "yes\tw0 w1 w2\n";
  EXPECT_EQ(difference(run("half", good + "no\tw17 w1\n", 8), run("whole", good, 4)), 0.0);
}

TEST(TrainBank, BestIsTheLowestLossOrTheHighestScore) {
  const TinyTask task("best");
  for (const std::string metric : {"loss", "accuracy"}) {
    const RunConfig config =
        task.run(metric, {{"type", "lora"}, {"r", 2}},
                 {{"metric_for_best_model", metric}, {"eval_steps", 2}, {"max_steps", 40}, {"learning_rate", 0.3}});
    const JobResult result = train_bank({config}, {}).front();
    ASSERT_EQ(result.code, ExitCode::done) << result.message;
    std::istringstream log(file_text(std::filesystem::path(config.output) / "log.jsonl"));
    std::vector<std::pair<double, int64_t>> scores;  // lower is better; the earlier of equals
    for (std::string line; std::getline(log, line);) {
      const Json entry = Json::parse(line);
      if (!entry.contains("eval_" + metric)) continue;
      const auto score = entry.at("eval_" + metric).get<double>();
      scores.emplace_back(metric == "loss" ? score : -score, entry.at("step").get<int64_t>());
    }
    ASSERT_EQ(scores.size(), 20U);
    const auto [best, worst] = std::minmax_element(scores.begin(), scores.end());
    ASSERT_LT(best->first, worst->first);
    EXPECT_EQ(result.metrics.at("best_step"), best->second) << metric;
    EXPECT_EQ(result.metrics.at("eval_" + metric), metric == "loss" ? best->first : -best->first);
  }
}

TEST(TrainBank, CachedFeaturesGiveTheSameAdapter) {
  const TinyTask task("cached");
  const auto probe = [](const Json& cached) { return Json{{"type", "linear_probe"}, {"cache_features", cached}}; };
  const auto train = [&](const std::string& output, const Json& method, int64_t seed = 1) {
    return task.run(output, method, {{"seed", seed}, {"eval_steps", 5}});
  };
  const RunConfig uncached = train("uncached", probe(false)), cached = train("cached", probe(true)),
                  automatic = train("automatic", probe("auto")), other = train("other", probe(true), 2);
  for (const RunConfig& run : {uncached, cached, automatic, other})
    ASSERT_EQ(train_bank({run}, {}).front().code, ExitCode::done);
  EXPECT_LT(difference(uncached.output + "/last", cached.output + "/last"), 1e-6);
  for (const char* file : {"/last/adapter_model.safetensors", "/log.jsonl", "/predictions/dev.jsonl"})
    EXPECT_EQ(file_text(cached.output + file), file_text(automatic.output + file)) << file;

  const std::vector<RunConfig> bank{train("bank1", probe(true)), train("bank2", probe(true), 2)};
  for (const JobResult& result : train_bank(bank, {})) ASSERT_EQ(result.code, ExitCode::done);
  EXPECT_LT(difference(bank[0].output + "/last", cached.output + "/last"), 1e-6);
  EXPECT_LT(difference(bank[1].output + "/last", other.output + "/last"), 1e-6);
}

/// A dropped job stands beside the others as one that has done its last step.
TEST(TrainBank, ADroppedJobLeavesTheOthersEqual) {
  const TinyTask task("dropped", 0.1);
  const Json method = {{"type", "lora"}, {"r", 2}};
  const auto bank = [&](const std::string& name, int64_t steps_of_second) {
    std::vector<RunConfig> configs;
    for (int64_t k = 0; k < 3; ++k) {
      configs.push_back(task.run(name + std::to_string(k), method,
                                 {{"seed", k},
                                  {"lr_scheduler_type", "constant"},
                                  {"eval_steps", 3},
                                  {"save_steps", 4},
                                  {"max_steps", k == 1 ? steps_of_second : 12}}));
    }
    return configs;
  };
  const auto ended = bank("ended", 6), dropped = bank("dropped", 12);
  for (const JobResult& result : train_bank(ended, {})) ASSERT_EQ(result.code, ExitCode::done) << result.message;

  std::vector<std::tuple<std::size_t, int64_t, double>> asked;
  const auto verdict = [&](std::size_t job, int64_t step, double score) {
    asked.emplace_back(job, step, score);
    return job == 1 && step == 6 ? Verdict::drop : Verdict::keep;
  };
  const auto results = train_bank(dropped, {.on_evaluation = verdict});
  EXPECT_EQ(results[0].code, ExitCode::done);
  EXPECT_EQ(results[1].code, ExitCode::guard);
  EXPECT_EQ(results[2].code, ExitCode::done);
  std::vector<std::pair<std::size_t, int64_t>> places;
  for (const auto& [job, step, score] : asked) {
    places.emplace_back(job, step);
    EXPECT_GT(score, 0.0);
    EXPECT_LE(score, 1.0);
  }
  using Place = std::pair<std::size_t, int64_t>;
  EXPECT_THAT(places, testing::ElementsAre(Place(0, 3), Place(1, 3), Place(2, 3), Place(0, 6), Place(1, 6), Place(2, 6),
                                           Place(0, 9), Place(2, 9)));
  for (const int k : {0, 2}) {
    for (const char* file : {"/last/adapter_model.safetensors", "/best/adapter_model.safetensors", "/log.jsonl",
                             "/checkpoint/state.safetensors", "/predictions/dev.jsonl"})
      EXPECT_EQ(file_text(dropped[k].output + file), file_text(ended[k].output + file)) << k << file;
  }

  const Json stop = read_json_file<DataError>(dropped[1].output + "/stopped.json");
  EXPECT_EQ(stop.at("step"), 6);
  EXPECT_THAT(stop.at("message").get<std::string>(), HasSubstr("step 6: dropped with eval_accuracy "));
  EXPECT_FALSE(std::filesystem::exists(dropped[1].output + "/metrics.json"));
  EXPECT_EQ(file_text(dropped[1].output + "/log.jsonl"), file_text(ended[1].output + "/log.jsonl"));
  const auto again = train_bank(dropped, {.resume = true, .on_evaluation = verdict});  // not tried again
  EXPECT_EQ(again[1].code, ExitCode::guard);
  EXPECT_EQ(again[1].message, stop.at("message"));
}

/// Killed after the drop: what is left goes on from its checkpoint.
TEST(TrainBank, ABankGoesOnWithoutADroppedJob) {
  const TinyTask task("dropped_resumed", 0.1);
  const auto bank = [&](const std::string& name) {
    std::vector<RunConfig> configs;
    for (int64_t k = 0; k < 2; ++k)
      configs.push_back(task.run(name + std::to_string(k), {{"type", "lora"}, {"r", 2}},
                                 {{"seed", k}, {"eval_steps", 4}, {"save_steps", 3}}));
    return configs;
  };
  const auto drop_second = [](std::size_t job, int64_t, double) { return job == 1 ? Verdict::drop : Verdict::keep; };
  const auto whole = bank("whole"), parts = bank("parts");
  train_bank(whole, {.on_evaluation = drop_second});
  int steps = 0;
  const auto interrupting = [&](double, const std::string&) {
    if (++steps == 8) std::raise(SIGTERM);
  };
  EXPECT_EQ(train_bank(parts, {.progress = interrupting, .on_evaluation = drop_second})[0].code, ExitCode::interrupted);
  EXPECT_EQ(train_bank(parts, {.resume = true, .on_evaluation = drop_second})[0].code, ExitCode::done);
  for (const char* file : {"/last/adapter_model.safetensors", "/log.jsonl", "/predictions/dev.jsonl"})
    EXPECT_EQ(file_text(parts[0].output + file), file_text(whole[0].output + file)) << file;
}

TEST(TrainBank, ValuesThatGrewBeyondUseStopAJob) {
  const TinyTask task("useless");
  const RunConfig bad = task.run("bad", {{"type", "lora"}, {"r", 2}},
                                 {{"learning_rate", 1e30}, {"max_steps", 4}, {"eval_steps", 2}}),
                  good = task.run("good", {{"type", "lora"}, {"r", 2}}, {{"max_steps", 4}, {"eval_steps", 2}});
  const auto results = train_bank({bad, good}, {});
  EXPECT_EQ(results[0].code, ExitCode::guard);
  EXPECT_THAT(results[0].message, HasSubstr("step 2: "));
  EXPECT_THAT(results[0].message, HasSubstr("has grown to 1e+30"));
  EXPECT_FALSE(std::filesystem::exists(bad.output + "/best"));
  EXPECT_FALSE(std::filesystem::exists(bad.output + "/metrics.json"));
  EXPECT_EQ(results[1].code, ExitCode::done);
}

TEST(TrainBank, FeaturesUnderDropoutAreNotCached) {
  const TinyTask task("uncacheable", 0.1);
  const auto run = [&](const std::string& output, const Json& cached) {
    return task.run(output, {{"type", "linear_probe"}, {"cache_features", cached}});
  };
  EXPECT_THAT([&] { train_bank({run("always", true)}, {}); },
              testing::ThrowsMessage<ConfigError>(HasSubstr("method.cache_features: true needs model.dropout 0")));
  for (const bool automatic : {false, true}) {
    ASSERT_EQ(
        train_bank({run(automatic ? "automatic" : "never", automatic ? Json("auto") : Json(false))}, {}).front().code,
        ExitCode::done);
  }
  EXPECT_EQ(file_text(task.folder / "never/log.jsonl"), file_text(task.folder / "automatic/log.jsonl"));
}

TEST(FeatureCache, HoldsWhatTheNetworkMakesOfEveryRow) {
  const TinyTask task("features");
  RunConfig config = task.run("run", {{"type", "linear_probe"}});
  const Transformer model = Transformer::load(config.model.path, "float64");
  const auto tokenizer = Tokenizer::load(config.model.path);
  const Dataset data = load_dataset(config.task, config.data, *tokenizer, {"train", "dev"});
  const EncodedSplit &train = *data.find("train"), &dev = *data.find("dev");
  FeatureCache cache;
  cache.add(model, train);
  const std::vector<BatchExample> rows{{&train, 49, 0, 0}, {&train, 3, 0, 1}, {&dev, 7, 0, 2}, {&train, 3, 0, 3}};
  EXPECT_FALSE(cache.holds(rows));
  cache.add(model, dev);
  ASSERT_TRUE(cache.holds(rows));
  Sockets none;
  const at::Tensor expected = model.pooled(make_input(rows, 1, model.device()), none, {});
  EXPECT_LT((cache.features(rows) - expected).abs().max().item<double>(), 1e-12);
}

TEST(TrainBank, CompressesTheBestPrefixOfARun) {
  const TinyTask task("compress");
  const RunConfig prefix = task.run("prefix", {{"type", "prefix"}, {"num_virtual_tokens", 3}, {"init_std", 0.1}});
  const JobResult source = train_bank({prefix}, {}).front();
  ASSERT_EQ(source.code, ExitCode::done) << source.message;
  const Json method{
      {"type", "ntk_attention"}, {"mode", "compress"}, {"prefix_from", prefix.output}, {"feature_map", "taylor2"}};
  const RunConfig still = task.run("still", method, {{"learning_rate", 1e-12}});
  const JobResult kept = train_bank({still}, {}).front();
  ASSERT_EQ(kept.code, ExitCode::done) << kept.message;
  const auto loss = [](const JobResult& result) { return result.metrics.at("eval_loss").get<double>(); };
  EXPECT_NEAR(loss(kept), loss(source), 1e-3);  // small keys: the second order is all but exact
  const JobResult trained = train_bank({task.run("trained", method)}, {}).front();
  ASSERT_EQ(trained.code, ExitCode::done) << trained.message;
  EXPECT_NE(loss(trained), loss(kept));
  // Going on from the compressed adapter needs its position shift by name.
  Json more{{"type", "ntk_attention"}, {"feature_map", "taylor2"}, {"init_from", still.output}};
  EXPECT_THROW(train_bank({task.run("shifted", more)}, {}), DataError);
  more["num_virtual_tokens"] = 3;
  EXPECT_EQ(train_bank({task.run("continued", more)}, {}).front().code, ExitCode::done);
}

TEST(TrainBank, RefusesAFolderThatHoldsARun) {
  const TinyTask task("refused");
  RunConfig config = task.run("run", {{"type", "linear_probe"}});
  ASSERT_EQ(train_bank({config}, {}).front().code, ExitCode::done);
  EXPECT_THROW(train_bank({config}, {}), ConfigError);
  const JobResult again = train_bank({config}, {.resume = true}).front();
  EXPECT_EQ(again.code, ExitCode::done);
  EXPECT_TRUE(again.metrics.contains("eval_accuracy"));
}

TEST(TrainBank, RefusesJobsThatCannotShareABank) {
  const TinyTask task("unequal");
  const RunConfig a = task.run("a", {{"type", "lora"}, {"r", 2}}), b = task.run("b", {{"type", "lora"}, {"r", 4}});
  try {
    train_bank({a, b}, {});
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("method.r"));
  }
  EXPECT_FALSE(std::filesystem::exists(a.output));
}

TEST(TrainBank, PositionsIncludeVirtualTokens) {
  const TinyTask task("positions");
  Json config = task.config("run", {{"type", "prompt"}, {"num_virtual_tokens", 5}});
  config["task"]["max_length"] = 36;  // 40 positions
  const Json prefix{{"type", "prefix"}, {"num_virtual_tokens", 20}},
      unshifted{{"type", "prefix"}, {"num_virtual_tokens", 20}, {"position_shift", "off"}};
  for (const auto& [method, length, fits] :
       {std::tuple{prefix, 20, true}, std::tuple{prefix, 21, false}, std::tuple{unshifted, 40, true}}) {
    Json run = task.config("prefix" + std::to_string(length), method, {{"max_steps", 1}});
    run["task"]["max_length"] = length;
    const auto train = [&] { train_bank({RunConfig::from_json(run, "test.json")}, {}); };
    if (fits) {
      EXPECT_NO_THROW(train());
    } else {
      EXPECT_THAT(train,
                  testing::ThrowsMessage<ConfigError>(HasSubstr("task.max_length: found 21, expected at most 20")));
    }
  }
  try {
    train_bank({RunConfig::from_json(config, "test.json")}, {});
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("expected at most 35"));
  }
}

}  // namespace
}  // namespace peft
