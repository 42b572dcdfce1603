#pragma once
/// A config with every kind of field, for the tests of the visitors.

#include "peft/base/fields.h"

namespace peft {

struct TestTrain {
  double learning_rate = 1e-3;
  int64_t max_steps = 10;
  double warmup_ratio = 0;
  std::string optim = "adamw";
  bool shuffle = true;
  std::optional<int64_t> eval_steps;
  std::optional<std::string> schedule;
  std::map<std::string, double> learning_rates;

  void visit(Fields& f) {
    f.field("learning_rate", learning_rate, {.help = "peak rate", .min = 0});
    f.field("max_steps", max_steps, {.help = "steps", .min = 1, .max = 1000});
    f.field("warmup_ratio", warmup_ratio, {.help = "share of steps", .min = 0, .max = 1, .max_exclusive = true});
    f.field("optim", optim, {.help = "optimiser", .choices = {"adamw", "sgd"}});
    f.field("shuffle", shuffle, {.help = "new order every epoch"});
    f.field("eval_steps", eval_steps, {.help = "every n steps", .min = 0});
    f.field("schedule", schedule, {.help = "constant | linear", .choices = {"constant", "linear"}});
    f.field("learning_rates", learning_rates, {.help = "per group", .min = 0, .min_exclusive = true});
  }
};

struct TestConfig {
  std::string path;
  std::string type = "lora";
  int64_t r = 8;
  int64_t num_virtual_tokens = 20;
  std::vector<std::string> targets = {"query"};
  std::vector<int64_t> layers;
  std::map<std::string, std::string> names;
  std::map<std::string, int64_t> counts;
  std::optional<bool> fast;
  std::optional<double> scale;
  Json extra = nullptr;
  int64_t seed = 42;
  TestTrain train;

  void visit(Fields& f) {
    f.section("model", {.help = "the frozen network"},
              [this](Fields& s) { s.field("path", path, {.help = "folder", .required = true}); });
    f.section("method", {.help = "what is trained"}, [this](Fields& s) {
      Json kind = type;
      if (const Json* json = s.current(); json != nullptr && json->contains("type")) kind = json->at("type");
      s.field("type", type, {.help = "name", .choices = {"lora", "prompt"}});
      if (kind == "lora") s.field("r", r, {.help = "rank", .min = 1});
      if (kind == "prompt") s.field("num_virtual_tokens", num_virtual_tokens, {.help = "tokens", .min = 1});
    });
    f.field("targets", targets, {.help = "modules"});
    f.field("layers", layers, {.help = "layer numbers", .min = 0});
    f.field("names", names, {.help = "names"});
    f.field("counts", counts, {.help = "counts"});
    f.field("fast", fast, {.help = "faster"});
    f.field("scale", scale, {.help = "factor"});
    f.field("extra", extra, {.help = "anything"});
    f.field("seed", seed, {.help = "seed"});
    f.field("train", train, {.help = "how to train"});
  }

  std::function<void(Fields&)> visitor() {
    return [this](Fields& f) { visit(f); };
  }
};

}  // namespace peft
