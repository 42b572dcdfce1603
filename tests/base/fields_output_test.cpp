#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/base/fields_test_config.h"

namespace peft {
namespace {

TEST(PrintFields, GivesTheCompleteValuesWithoutAbsentOptionals) {
  TestConfig config;
  config.path = std::string("m");
  config.train.eval_steps = 5;
  const Json json = print_fields(config.visitor());
  EXPECT_EQ(json["model"], Json({{"path", "m"}}));
  EXPECT_EQ(json["method"], Json({{"type", "lora"}, {"r", 8}}));
  EXPECT_EQ(json["train"]["learning_rate"], 1e-3);
  EXPECT_EQ(json["train"]["eval_steps"], 5);
  EXPECT_FALSE(json["train"].contains("schedule"));
  EXPECT_FALSE(json.contains("fast"));
  EXPECT_TRUE(json["layers"].is_array());
  EXPECT_TRUE(json["names"].is_object());
}

TEST(PrintFields, WhatItPrintsParsesToTheSame) {
  TestConfig config;
  const Json given =
      parse_json(R"({"model": {"path": "m"}, "scale": 0.1, "train": {"learning_rate": 1e-5, "schedule": "linear"},
                                    "counts": {"n": -9223372036854775808}, "extra": {"a": [1]}})",
                 "x");
  parse_fields(config.visitor(), given, "x");
  const Json printed = print_fields(config.visitor());
  TestConfig again;
  parse_fields(again.visitor(), parse_json(to_pretty_string(printed), "y"), "y");
  EXPECT_EQ(print_fields(again.visitor()), printed);
}

TEST(PrintFields, LeavesOutFieldsAndSectionsThatAreNotWanted) {
  TestConfig config;
  const Json all = print_fields(config.visitor());
  const Json json = print_fields(
      config.visitor(), [](const FieldInfo& info) { return info.help != "peak rate" && info.help != "how to choose"; });
  EXPECT_FALSE(json["train"].contains("learning_rate"));
  Json expected = all;
  expected["train"].erase("learning_rate");
  EXPECT_EQ(json, expected);
  const Json no_sections =
      print_fields(config.visitor(), [](const FieldInfo& info) { return info.help != "how to train"; });
  EXPECT_TRUE(all.contains("train"));
  EXPECT_FALSE(no_sections.contains("train"));
}

TEST(SchemaFields, DescribesTypesRangesChoicesAndDefaults) {
  TestConfig config;
  const Json schema = schema_fields(config.visitor());
  EXPECT_EQ(schema["type"], "object");
  EXPECT_EQ(schema["additionalProperties"], false);
  const Json& train = schema["properties"]["train"];
  EXPECT_EQ(train["additionalProperties"], false);
  EXPECT_EQ(train["description"], "how to train");
  EXPECT_EQ(train["properties"]["learning_rate"],
            Json({{"type", "number"}, {"minimum", 0.0}, {"default", 1e-3}, {"description", "peak rate"}}));
  EXPECT_EQ(train["properties"]["warmup_ratio"]["exclusiveMaximum"], 1.0);
  EXPECT_EQ(train["properties"]["optim"]["enum"], Json({"adamw", "sgd"}));
  EXPECT_EQ(train["properties"]["schedule"]["enum"], Json({"constant", "linear", nullptr}));
  EXPECT_EQ(train["properties"]["eval_steps"]["type"], Json({"integer", "null"}));
  EXPECT_FALSE(train["properties"]["eval_steps"].contains("default"));
  EXPECT_EQ(train["properties"]["learning_rates"]["additionalProperties"]["exclusiveMinimum"], 0.0);
  EXPECT_EQ(schema["properties"]["targets"]["items"]["type"], "string");
}

TEST(SchemaFields, ASectionWithARequiredKeyIsRequiredItself) {
  TestConfig config;
  const Json schema = schema_fields(config.visitor());
  EXPECT_EQ(schema["required"], Json({"model"}));
  EXPECT_EQ(schema["properties"]["model"]["required"], Json({"path"}));
  EXPECT_FALSE(schema["properties"]["train"].contains("required"));
}

TEST(DocumentFields, IsATableOfPathsDefaultsRangesAndMeanings) {
  TestConfig config;
  const std::string table = document_fields(config.visitor());
  EXPECT_THAT(table, testing::StartsWith("| key | default | range | meaning |\n|---|---|---|---|\n"));
  EXPECT_THAT(table, testing::HasSubstr("| `model.path` | required | a string | folder |\n"));
  EXPECT_THAT(table, testing::HasSubstr("| `train.max_steps` | `10` | an integer >= 1 and <= 1000 | steps |\n"));
  EXPECT_THAT(table,
              testing::HasSubstr("| `train.schedule` | absent | \"constant\", \"linear\" | constant \\| linear |\n"));
  EXPECT_THAT(table, testing::HasSubstr("| `targets` | `[\"query\"]` | a list of strings | modules |\n"));
}

}  // namespace
}  // namespace peft
