#include <gtest/gtest.h>

#include "peft/base/error.h"

namespace peft {
namespace {

TEST(Error, CarriesTheExitCodeOfItsAudience) {
  EXPECT_EQ(ConfigError("x").code(), ExitCode::config);
  EXPECT_EQ(DataError("x").code(), ExitCode::data);
  EXPECT_EQ(Error("x").code(), ExitCode::other);
}

}  // namespace
}  // namespace peft
