#include <gtest/gtest.h>

#include "peft/base/error.h"
#include "tests/base/fields_test_config.h"

namespace peft {
namespace {

TestConfig parsed(const std::string& text) {
  TestConfig config;
  parse_fields(config.visitor(), parse_json(text, "x.json"), "configs/x.json");
  return config;
}

/// The config that is complete but for `members`.
TestConfig parsed_with(const std::string& members) { return parsed(R"({"model": {"path": "m"}, )" + members + "}"); }

template <class Parse>
std::string error_of(const Parse& parse, const std::string& text) {
  try {
    parse(text);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

std::string error_of(const std::string& text) { return error_of(parsed, text); }
std::string error_with(const std::string& members) { return error_of(parsed_with, members); }

TEST(ParseFields, AbsentKeysKeepTheirDefaults) {
  const TestConfig config = parsed(R"({"model": {"path": "m"}, "train": {"max_steps": 3}})");
  EXPECT_EQ(config.path, "m");
  EXPECT_EQ(config.r, 8);
  EXPECT_EQ(config.train.max_steps, 3);
  EXPECT_EQ(config.train.learning_rate, 1e-3);
  EXPECT_EQ(config.train.eval_steps, std::nullopt);
  EXPECT_EQ(config.targets, std::vector<std::string>{"query"});
}

TEST(ParseFields, FillsEveryKindOfField) {
  const TestConfig config = parsed_with(R"(
    "targets": ["q", "v"], "layers": [0, 2.0], "names": {"a": "b"}, "counts": {"n": 3}, "fast": true, "scale": 2,
    "extra": [1, {"x": null}], "seed": -7,
    "train": {"learning_rate": 1, "shuffle": false, "optim": "sgd", "eval_steps": 0, "schedule": "linear",
              "learning_rates": {"head": 0.5}})");
  EXPECT_EQ(config.targets, (std::vector<std::string>{"q", "v"}));
  EXPECT_EQ(config.layers, (std::vector<int64_t>{0, 2}));
  EXPECT_EQ(config.names.at("a"), "b");
  EXPECT_EQ(config.counts.at("n"), 3);
  EXPECT_EQ(config.fast, true);
  EXPECT_EQ(config.scale, 2.0);
  EXPECT_EQ(config.extra.dump(), R"([1,{"x":null}])");
  EXPECT_EQ(config.seed, -7);
  EXPECT_EQ(config.train.learning_rate, 1.0);
  EXPECT_FALSE(config.train.shuffle);
  EXPECT_EQ(config.train.optim, "sgd");
  EXPECT_EQ(config.train.eval_steps, 0);
  EXPECT_EQ(config.train.schedule, "linear");
  EXPECT_EQ(config.train.learning_rates.at("head"), 0.5);
}

TEST(ParseFields, ListsAndMapsReplaceTheirDefaults) { EXPECT_TRUE(parsed_with(R"("targets": [])").targets.empty()); }

TEST(ParseFields, NullEmptiesAnOptionalOnly) {
  EXPECT_EQ(parsed_with(R"("train": {"eval_steps": null})").train.eval_steps, std::nullopt);
  EXPECT_EQ(error_with(R"("train": {"max_steps": null})"),
            "configs/x.json: train.max_steps: found null, expected an integer >= 1 and <= 1000");
}

TEST(ParseFields, UnknownKeySuggestsTheNearestKnownOne) {
  EXPECT_EQ(error_with(R"("train": {"learning_rat": 1})"),
            "configs/x.json: train.learning_rat: unknown key; did you mean \"learning_rate\"?");
  EXPECT_EQ(error_with(R"("trian": {})"), "configs/x.json: trian: unknown key; did you mean \"train\"?");
}

TEST(ParseFields, UnknownKeyOfAnotherSectionSuggestsItsPath) {
  EXPECT_EQ(error_with(R"("max_steps": 1)"),
            "configs/x.json: max_steps: unknown key; did you mean \"train.max_steps\"?");
}

TEST(ParseFields, UnknownKeyWithoutNeighbourListsTheKnownOnes) {
  EXPECT_EQ(error_with(R"("method": {"zzzzzz": 1})"),
            "configs/x.json: method.zzzzzz: unknown key; known keys: \"type\", \"r\"");
}

TEST(ParseFields, AMisspeltKeyIsToldBeforeTheKeyItLeftMissing) {
  EXPECT_EQ(error_of(R"({"modle": {"path": "m"}})"), "configs/x.json: modle: unknown key; did you mean \"model\"?");
  EXPECT_EQ(error_of(R"({"model": {"pth": "m"}})"), "configs/x.json: model.pth: unknown key; did you mean \"path\"?");
}

TEST(ParseFields, MissingRequiredKeyIsNamed) {
  EXPECT_EQ(error_of("{}"), "configs/x.json: model.path: missing, but required");
  EXPECT_EQ(error_of(R"({"model": {}})"), "configs/x.json: model.path: missing, but required");
}

TEST(ParseFields, WrongTypesNameWhatWasFoundAndExpected) {
  EXPECT_EQ(error_with(R"("seed": "ten")"), "configs/x.json: seed: found \"ten\", expected an integer");
  EXPECT_EQ(error_with(R"("seed": 3.5)"), "configs/x.json: seed: found 3.5, expected an integer");
  EXPECT_EQ(error_with(R"("seed": true)"), "configs/x.json: seed: found true, expected an integer");
  EXPECT_EQ(error_with(R"("scale": "1")"), "configs/x.json: scale: found \"1\", expected a number");
  EXPECT_EQ(error_with(R"("train": {"shuffle": 1})"), "configs/x.json: train.shuffle: found 1, expected true or false");
  EXPECT_EQ(error_of(R"({"model": {"path": 1}})"), "configs/x.json: model.path: found 1, expected a string");
  EXPECT_EQ(error_with(R"("targets": "q")"), "configs/x.json: targets: found \"q\", expected a list of strings");
  EXPECT_EQ(error_with(R"("targets": ["q", 1])"), "configs/x.json: targets[1]: found 1, expected a string");
  EXPECT_EQ(error_with(R"("layers": [1.5])"), "configs/x.json: layers[0]: found 1.5, expected an integer >= 0");
  EXPECT_EQ(error_with(R"("names": [])"), "configs/x.json: names: found [], expected an object of strings");
  EXPECT_EQ(error_with(R"("counts": {"n": "3"})"), "configs/x.json: counts.n: found \"3\", expected an integer");
}

TEST(ParseFields, ASectionMustBeAnObject) {
  EXPECT_EQ(error_with(R"("train": 3)"), "configs/x.json: train: found 3, expected an object");
  EXPECT_EQ(error_with(R"("train": null)"), "configs/x.json: train: found null, expected an object");
  EXPECT_EQ(error_of("[]"), "configs/x.json: found [], expected an object");
}

TEST(ParseFields, NumbersOutOfRangeNameTheRange) {
  EXPECT_EQ(error_with(R"("train": {"learning_rate": -1})"),
            "configs/x.json: train.learning_rate: found -1, expected a number >= 0");
  EXPECT_EQ(error_with(R"("train": {"max_steps": 0})"),
            "configs/x.json: train.max_steps: found 0, expected an integer >= 1 and <= 1000");
  EXPECT_EQ(error_with(R"("train": {"warmup_ratio": 1})"),
            "configs/x.json: train.warmup_ratio: found 1, expected a number >= 0 and < 1");
  EXPECT_EQ(error_with(R"("train": {"learning_rates": {"head": 0}})"),
            "configs/x.json: train.learning_rates.head: found 0, expected a number > 0");
  EXPECT_EQ(error_with(R"("train": {"eval_steps": -1})"),
            "configs/x.json: train.eval_steps: found -1, expected an integer >= 0");
}

TEST(ParseFields, ChoicesAreListed) {
  EXPECT_EQ(
      error_with(R"("train": {"optim": "adamww"})"),
      "configs/x.json: train.optim: found \"adamww\", expected one of \"adamw\", \"sgd\"; did you mean \"adamw\"?");
  EXPECT_EQ(error_with(R"("train": {"schedule": 1})"),
            "configs/x.json: train.schedule: found 1, expected one of \"constant\", \"linear\"");
}

TEST(ParseFields, IntegersMayBeWrittenAsIntegralFloats) {
  EXPECT_EQ(parsed_with(R"("seed": 1e3)").seed, 1000);
  EXPECT_EQ(parsed_with(R"("seed": -3.0)").seed, -3);
}

TEST(ParseFields, IntegersBeyond64BitsAreErrors) {
  EXPECT_EQ(parsed_with(R"("seed": 9223372036854775807)").seed, std::numeric_limits<int64_t>::max());
  EXPECT_EQ(parsed_with(R"("seed": -9223372036854775808)").seed, std::numeric_limits<int64_t>::min());
  EXPECT_EQ(error_with(R"("seed": 9223372036854775808)"),
            "configs/x.json: seed: found 9223372036854775808, expected an integer of 64 bits");
  EXPECT_EQ(error_with(R"("seed": 1e19)"), "configs/x.json: seed: found 1e+19, expected an integer of 64 bits");
  EXPECT_EQ(error_with(R"("seed": 99999999999999999999)"),
            "configs/x.json: seed: found 1e+20, expected an integer of 64 bits");
  EXPECT_EQ(error_with(R"("seed": -9223372036854775809)"),
            "configs/x.json: seed: found -9.223372036854776e+18, expected an integer of 64 bits");
}

TEST(ParseFields, ASectionCanPeekAtItsType) {
  EXPECT_EQ(parsed_with(R"("method": {"type": "prompt", "num_virtual_tokens": 5})").num_virtual_tokens, 5);
  EXPECT_EQ(error_with(R"("method": {"type": "prompt", "r": 5})"),
            "configs/x.json: method.r: unknown key; known keys: \"type\", \"num_virtual_tokens\"");
  EXPECT_EQ(error_with(R"("method": {"type": "prompt", "lora_r": 5})"),
            "configs/x.json: method.lora_r: unknown key; here it is \"method.r\", a key that \"type\": \"prompt\" does "
            "not have");
  EXPECT_EQ(error_with(R"("method": {"lora_r": 5})"),
            "configs/x.json: method.lora_r: unknown key; here it is \"method.r\"");
}

TEST(ParseFields, IgnoresTheListedTopLevelKeysOnly) {
  TestConfig config;
  const Json json = parse_json(R"({"model": {"path": "m"}, "provenance": {"x": 1}})", "x.json");
  parse_fields(config.visitor(), json, "x.json", {"provenance"});
  EXPECT_EQ(config.path, "m");
  const Json inner = parse_json(R"({"model": {"path": "m", "provenance": 1}})", "x.json");
  EXPECT_THROW(parse_fields(config.visitor(), inner, "x.json", {"provenance"}), ConfigError);
}

TEST(ParseFields, ASectionVisitedTwiceKnowsTheKeysOfBothVisits) {
  int64_t a = 0, b = 0;
  const auto visit = [&](Fields& f) {
    f.section("data", {}, [&](Fields& s) { s.field("a", a, {}); });
    f.section("data", {}, [&](Fields& s) { s.field("b", b, {}); });
  };
  parse_fields(visit, parse_json(R"({"data": {"a": 1, "b": 2}})", "x"), "x");
  EXPECT_EQ(a, 1);
  EXPECT_EQ(b, 2);
  EXPECT_EQ(print_fields(visit).dump(), R"({"data":{"a":1,"b":2}})");
}

TEST(ParseFields, LongValuesAreCutInMessages) {
  const std::string message = error_with(R"("seed": ")" + std::string(5000, 'a') + "\"");
  EXPECT_LT(message.size(), 200U);
}

}  // namespace
}  // namespace peft
