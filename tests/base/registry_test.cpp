#include "peft/base/registry.h"

#include <gtest/gtest.h>

namespace peft {
namespace {

TEST(Registry, FindsWhatWasAdded) {
  Registry<int> registry("method");
  EXPECT_TRUE(registry.add("lora", 1));
  EXPECT_EQ(registry.at("lora"), 1);
  EXPECT_EQ(registry.find("full"), nullptr);
}

TEST(Registry, UnknownNameSuggestsAndLists) {
  Registry<int> registry("method");
  registry.add("lora", 1);
  registry.add("full", 2);
  try {
    registry.at("lroa");
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(), "unknown method \"lroa\"; did you mean \"lora\"? (known: full, lora)");
  }
}

TEST(Registry, DuplicateNameIsAnError) {
  Registry<int> registry("method");
  registry.add("lora", 1);
  EXPECT_THROW(registry.add("lora", 2), Error);
}

}  // namespace
}  // namespace peft
