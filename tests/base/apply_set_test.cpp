#include <gtest/gtest.h>

#include "peft/base/error.h"
#include "peft/base/fields.h"

namespace peft {
namespace {

Json with(Json config, std::string_view assignment) {
  apply_set(config, assignment);
  return config;
}

std::string error_of(const Json& config, std::string_view assignment) {
  try {
    with(config, assignment);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(ApplySet, ValueIsJsonWhereItParsesElseAString) {
  EXPECT_EQ(with({}, "a=3").dump(), R"({"a":3})");
  EXPECT_EQ(with({}, "a=1e-3").dump(), R"({"a":0.001})");
  EXPECT_EQ(with({}, "a=true").dump(), R"({"a":true})");
  EXPECT_EQ(with({}, "a=null").dump(), R"({"a":null})");
  EXPECT_EQ(with({}, R"(a=["q","v"])").dump(), R"({"a":["q","v"]})");
  EXPECT_EQ(with({}, R"(a="3")").dump(), R"({"a":"3"})");
  EXPECT_EQ(with({}, "a=adamw").dump(), R"({"a":"adamw"})");
  EXPECT_EQ(with({}, "a=x=y").dump(), R"({"a":"x=y"})");
  EXPECT_EQ(with({}, "a=").dump(), R"({"a":""})");
  EXPECT_EQ(with({}, "a=[qv]_proj").dump(), R"({"a":"[qv]_proj"})");
}

TEST(ApplySet, ReplacesAndCreatesSections) {
  const Json config = {{"train", {{"seed", 1}, {"lr", 2}}}};
  EXPECT_EQ(with(config, "train.seed=5").dump(), R"({"train":{"lr":2,"seed":5}})");
  EXPECT_EQ(with(config, "method.r=8").dump(), R"({"method":{"r":8},"train":{"lr":2,"seed":1}})");
  EXPECT_EQ(with(config, "a.b.c=1")["a"].dump(), R"({"b":{"c":1}})");
  EXPECT_EQ(with(config, R"(train={"x": 1})")["train"].dump(), R"({"x":1})");
}

TEST(ApplySet, PathThroughAValueIsAnError) {
  EXPECT_EQ(error_of({{"output", "runs"}}, "output.x=1"), "--set output.x=1: output is \"runs\", not a section");
  EXPECT_EQ(error_of({{"a", {{"b", {1, 2}}}}}, "a.b.0=1"), "--set a.b.0=1: a.b is [1,2], not a section");
  EXPECT_EQ(error_of(Json::array(), "a=1"), "--set a=1: the config is [], not a section");
}

TEST(ApplySet, EmptyPathsAreErrors) {
  EXPECT_EQ(error_of({}, "seed"), "--set seed: expected key.path=value");
  EXPECT_EQ(error_of({}, "=1"), "--set =1: expected key.path=value");
  EXPECT_EQ(error_of({}, ""), "--set : expected key.path=value");
  EXPECT_EQ(error_of({}, "a..b=1"), "--set a..b=1: empty key in the path \"a..b\"");
  EXPECT_EQ(error_of({}, ".a=1"), "--set .a=1: empty key in the path \".a\"");
  EXPECT_EQ(error_of({}, "a.=1"), "--set a.=1: empty key in the path \"a.\"");
}

TEST(ApplySet, ABadAssignmentChangesNothing) {
  Json config = {{"a", 1}};
  EXPECT_THROW(apply_set(config, "b..c=1"), ConfigError);
  EXPECT_EQ(config.dump(), R"({"a":1})");
}

TEST(ApplySet, RefusesBytesThatAreNotUtf8) {
  EXPECT_EQ(error_of({}, "a=\xff"), "--set \"a=\\ufffd\": not valid UTF-8");
}

}  // namespace
}  // namespace peft
