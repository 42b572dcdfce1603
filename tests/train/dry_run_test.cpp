#include "src/train/dry_run.h"

#include <gmock/gmock.h>

#include <set>

#include "peft/train/trainer.h"
#include "tests/support/tiny_task.h"

namespace peft {
namespace {

using testing::HasSubstr;

TEST(DryRun, TouchesNoFolder) {
  const TinyTask task("dry_run");
  const auto listing = [&] {
    std::set<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(task.folder)) files.insert(entry.path());
    return files;
  };
  const RunConfig config = task.run("run", {{"type", "lora"}, {"r", 2}});
  const auto before = listing();
  const std::string text = dry_run(config);
  EXPECT_EQ(listing(), before);
  EXPECT_THAT(text, HasSubstr(config.output));
  // Whatever stands there, even a folder that a run would refuse, or the name that earlier versions looked at.
  write_atomic(task.folder / "run" / "log.jsonl", "");
  write_atomic(task.folder / "run.dry-run" / "log.jsonl", "");
  EXPECT_EQ(dry_run(config), text);
}

TEST(DryRun, GroupedHeadsKeepFewerKeysAndValues) {
  StackSpec stack;
  stack.layers.resize(3);
  stack.width = 32;
  stack.heads = stack.kv_heads = 4;
  stack.head_dim = 8;
  stack.feed_forward = 64;
  const int64_t all = activation_bytes_per_token(stack, 4);
  EXPECT_EQ(all, 3 * (3 * 32 + 6 * 32 + 2 * 64) * 4);
  stack.kv_heads = 1;
  EXPECT_EQ(all - activation_bytes_per_token(stack, 4), 3 * 2 * (4 - 1) * 8 * 4);
}

}  // namespace
}  // namespace peft
