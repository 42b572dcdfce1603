#include <gtest/gtest.h>

#include "peft/base/error.h"
#include "peft/base/files.h"
#include "src/base/posix_files.h"
#include "tests/base/temporary_folder.h"

namespace fs = std::filesystem;

namespace peft {
namespace {

using Replace = void (*)(const fs::path&, const fs::path&);

/// The exchange and its fallback keep the same promises.
class ReplaceFolder : public testing::TestWithParam<Replace> {};

TEST_P(ReplaceFolder, PutsTheFreshFolderInPlaceAndRemovesTheOldOne) {
  const TemporaryFolder folder;
  put(folder / "best/old", "1");
  put(folder / "best/both", "old");
  put(folder / "best.new/both", "new");
  put(folder / "best.new/deep/er", "2");
  GetParam()(folder / "best.new", folder / "best");
  EXPECT_EQ(describe_folder(folder.path()), "best");
  EXPECT_EQ(describe_folder(folder / "best"), "both, deep");
  EXPECT_EQ(content_of(folder / "best/both"), "new");
  EXPECT_EQ(content_of(folder / "best/deep/er"), "2");
}

TEST_P(ReplaceFolder, AFailureKeepsTheOldFolder) {
  const TemporaryFolder folder;
  put(folder / "best/old", "1");
  EXPECT_THROW(GetParam()(folder / "absent", folder / "best"), Error);
  EXPECT_EQ(describe_folder(folder.path()), "best");
  EXPECT_EQ(content_of(folder / "best/old"), "1");
}

INSTANTIATE_TEST_SUITE_P(Ways, ReplaceFolder, testing::Values(&replace_folder, &replace_folder_by_renames));

TEST(ReplaceFolderAlone, CreatesAnAbsentTargetWithItsParents) {
  const TemporaryFolder folder;
  put(folder / "fresh/a", "1");
  replace_folder(folder / "fresh", folder / "runs/x/best");
  EXPECT_EQ(content_of(folder / "runs/x/best/a"), "1");
  EXPECT_EQ(describe_folder(folder.path()), "runs");
}

TEST(ReplaceFolderAlone, ATrailingSlashChangesNothing) {
  const TemporaryFolder folder;
  put(folder / "fresh/a", "new");
  put(folder / "best/a", "old");
  replace_folder(folder / "fresh/", folder / "best/");
  EXPECT_EQ(content_of(folder / "best/a"), "new");
  EXPECT_EQ(describe_folder(folder.path()), "best");
}

}  // namespace
}  // namespace peft
