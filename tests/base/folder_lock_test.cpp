#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>

#include "peft/base/error.h"
#include "peft/base/files.h"
#include "tests/base/temporary_folder.h"

namespace peft {
namespace {

/// Exit status of another process that tries to lock the folder: 0 locked, 7 told that it is in use.
int lock_in_another_process(const std::filesystem::path& folder) {
  const pid_t child = fork();
  if (child == 0) {
    int status = 9;
    try {
      const FolderLock lock(folder);
      status = 0;
    } catch (const Error& error) {
      if (error.what() == folder.string() + ": run folder in use" && error.code() == ExitCode::other) status = 7;
    }
    _exit(status);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WEXITSTATUS(status);
}

TEST(FolderLock, KeepsOtherProcessesOut) {
  const TemporaryFolder folder;
  auto lock = std::make_unique<FolderLock>(folder.path());
  EXPECT_EQ(lock_in_another_process(folder.path()), 7);
  lock.reset();
  EXPECT_EQ(lock_in_another_process(folder.path()), 0);
}

TEST(FolderLock, KeepsASecondLockOfTheSameProcessOut) {
  const TemporaryFolder folder;
  const FolderLock lock(folder.path());
  EXPECT_THROW(FolderLock second(folder.path()), Error);
}

TEST(FolderLock, ALockLeftByADeadProcessIsFree) {
  const TemporaryFolder folder;
  const pid_t child = fork();
  if (child == 0) {
    const FolderLock lock(folder.path());
    _exit(0);  // without running the destructor
  }
  waitpid(child, nullptr, 0);
  EXPECT_EQ(lock_in_another_process(folder.path()), 0);
}

TEST(FolderLock, CreatesTheFolder) {
  const TemporaryFolder folder;
  const FolderLock lock(folder / "runs/x");
  EXPECT_TRUE(std::filesystem::is_directory(folder / "runs/x"));
}

}  // namespace
}  // namespace peft
