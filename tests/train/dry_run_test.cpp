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
  static_cast<void>(dry_run(config));
}

}  // namespace
}  // namespace peft
