#include "peft/base/summaries.h"

#include <gmock/gmock.h>

#include "peft/data/task.h"
#include "peft/methods/method.h"
#include "peft/metrics/metrics.h"
#include "peft/models/spec.h"

namespace peft {
namespace {

TEST(Summaries, EveryRegisteredNameHasOne) {
  EXPECT_EQ(summaries("method").names(), methods().names());
  EXPECT_EQ(summaries("task").names(), task_registry().names());
  EXPECT_EQ(summaries("metric").names(), metric_names());
  EXPECT_EQ(summaries("architecture").names(), architectures().names());
}

TEST(Summaries, AreShort) {
  for (const char* kind : {"method", "task", "metric", "architecture"}) {
    for (const std::string& name : summaries(kind).names())
      EXPECT_LT(summaries(kind).at(name).text.size(), 80U) << name;
  }
}

}  // namespace
}  // namespace peft
