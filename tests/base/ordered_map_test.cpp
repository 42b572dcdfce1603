#include "peft/base/ordered_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "peft/base/error.h"
#include "peft/base/fields.h"

namespace peft {
namespace {

using Members = std::vector<std::pair<std::string, int64_t>>;

struct Patterns {
  OrderedMap<int64_t> rank_pattern;
  OrderedMap<double> alpha_pattern;
  void visit(Fields& fields) {
    fields.field("rank_pattern", rank_pattern, {.min = 1});
    fields.field("alpha_pattern", alpha_pattern, {.min = 0});
  }
};

Patterns parsed(const Json& json) {
  Patterns patterns;
  parse_fields([&](Fields& fields) { patterns.visit(fields); }, json, "x.json");
  return patterns;
}

Json printed(Patterns patterns) {
  return print_fields([&](Fields& fields) { patterns.visit(fields); });
}

const char* const kText = R"({
  "alpha_pattern": {
    "b": 2.5,
    "a.*": 1.0
  },
  "rank_pattern": {
    "value": 3,
    "query": 2,
    "layer.1": 4
  }
}
)";

TEST(OrderedMap, KeepsTheOrderOfTheFile) {
  const Patterns patterns = parsed(parse_json(kText, "x"));
  EXPECT_EQ(patterns.rank_pattern.members, (Members{{"value", 3}, {"query", 2}, {"layer.1", 4}}));
  EXPECT_EQ(patterns.alpha_pattern.members.front().first, "b");
}

TEST(OrderedMap, IsWrittenInItsOrder) { EXPECT_EQ(to_pretty_string(printed(parsed(parse_json(kText, "x")))), kText); }

TEST(OrderedMap, OtherOrdersAreOtherValues) {
  const Json one = parse_json(R"({"rank_pattern": {"b": 1, "a": 2}})", "x"),
             other = parse_json(R"({"rank_pattern": {"a": 2, "b": 1}})", "x");
  EXPECT_NE(one, other);
  EXPECT_NE(printed(parsed(one)), printed(parsed(other)));
  EXPECT_EQ(printed(parsed(one))["rank_pattern"], one["rank_pattern"]);
  EXPECT_EQ(printed(parsed(other))["rank_pattern"], other["rank_pattern"]);
}

TEST(OrderedMap, AnyDepthOfASweepKeepsIt) {
  const std::string text = R"({
  "method": {
    "rank_pattern": {
      "b": 1,
      "a": 2
    }
  },
  "sweep": {
    "method": [
      {
        "rank_pattern": {
          "b": 1,
          "a": 2
        }
      }
    ],
    "method.rank_pattern": [
      {
        "b": 1,
        "a": 2
      },
      {
        "a": 2,
        "b": 1
      },
      {
        "c": 1
      }
    ],
    "z": {
      "a": 1,
      "b": 2
    }
  }
}
)";
  const Json json = parse_json(text, "x");
  EXPECT_EQ(to_pretty_string(json), text);
  const Json& values = json["sweep"]["method.rank_pattern"];
  EXPECT_EQ(values[0], json["method"]["rank_pattern"]);
  EXPECT_EQ(values[1], (Json{{"a", 2}, {"b", 1}}));
  EXPECT_EQ(parsed({{"rank_pattern", values[0]}}).rank_pattern.members, (Members{{"b", 1}, {"a", 2}}));
}

TEST(OrderedMap, OtherObjectsAreSortedAsEver) {
  EXPECT_EQ(parse_json(R"({"learning_rates": {"b": 1, "a": 2}})", "x").dump(), R"({"learning_rates":{"a":2,"b":1}})");
  EXPECT_EQ(to_pretty_string({{"x", Json::array({{{"a", 1}}, {{"b", 2}}})}}),
            "{\n  \"x\": [\n    {\n      \"a\": 1\n    },\n    {\n      \"b\": 2\n    }\n  ]\n}\n");
}

TEST(OrderedMap, SetKeepsTheOrder) {
  Json config;
  apply_set(config, R"(method.rank_pattern={"b": 1, "a": 2})");
  EXPECT_EQ(parsed(config["method"]).rank_pattern.members, (Members{{"b", 1}, {"a", 2}}));
  EXPECT_THROW(apply_set(config, "method.rank_pattern.a=3"), ConfigError);  // where would a new key stand?
}

TEST(OrderedMap, WrongValuesNameTheirKey) {
  const auto refusal = [](const char* text) -> std::string {
    try {
      parsed(parse_json(text, "x"));
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(refusal(R"({"rank_pattern": 3})"), "x.json: rank_pattern: found 3, expected an object of integers");
  EXPECT_EQ(refusal(R"({"rank_pattern": [1]})"), "x.json: rank_pattern: found [1], expected an object of integers");
  EXPECT_EQ(refusal(R"({"rank_pattern": {"b": 1, "a": 0}})"),
            "x.json: rank_pattern.a: found 0, expected an integer >= 1");
  EXPECT_EQ(refusal(R"({"rank_pattern": {"b": 1, "a": "x"}})"),
            "x.json: rank_pattern.a: found \"x\", expected an integer >= 1");
}

TEST(OrderedMap, IsReadFromJsonOfEitherForm) {
  const Json json = parse_json(kText, "x");
  EXPECT_EQ(json["rank_pattern"].get<OrderedMap<int64_t>>().members.front().first, "value");
  EXPECT_EQ(Json({{"a", 1}}).get<OrderedMap<int64_t>>().members, (Members{{"a", 1}}));
  EXPECT_THROW(Json(3).get<OrderedMap<int64_t>>(), Json::exception);
}

}  // namespace
}  // namespace peft
