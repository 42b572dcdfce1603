#include "peft/base/cores.h"

#include <gmock/gmock.h>
#include <sched.h>

#include <cstdlib>
#include <fstream>
#include <thread>

#include "tests/base/temporary_folder.h"

namespace peft {
namespace {

namespace fs = std::filesystem;
using testing::Eq;
using testing::Optional;

class Cgroup : public testing::Test {
 protected:
  void write(const fs::path& name, const std::string& text) {
    fs::create_directories((root_.path() / name).parent_path());
    std::ofstream(root_.path() / name) << text;
  }
  TemporaryFolder root_;
};

TEST_F(Cgroup, WithoutFilesThereIsNoLimit) { EXPECT_EQ(cgroup_cores(root_.path()), std::nullopt); }

TEST_F(Cgroup, Version2GivesQuotaOverPeriod) {
  write("proc/self/cgroup", "0::/jobs/one\n");
  write("sys/fs/cgroup/jobs/one/cpu.max", "150000 100000\n");
  EXPECT_THAT(cgroup_cores(root_.path()), Optional(1.5));
}

TEST_F(Cgroup, AGroupAboveMayGrantLess) {
  write("proc/self/cgroup", "0::/jobs/one\n");
  write("sys/fs/cgroup/jobs/one/cpu.max", "800000 100000\n");
  write("sys/fs/cgroup/jobs/cpu.max", "200000 100000\n");
  write("sys/fs/cgroup/cpu.max", "max 100000\n");
  EXPECT_THAT(cgroup_cores(root_.path()), Optional(2.0));
}

TEST_F(Cgroup, MaxIsNoLimit) {
  write("proc/self/cgroup", "0::/\n");
  write("sys/fs/cgroup/cpu.max", "max 100000\n");
  EXPECT_EQ(cgroup_cores(root_.path()), std::nullopt);
}

TEST_F(Cgroup, AContainerFindsItsOwnGroupAtTheRoot) {
  write("proc/self/cgroup", "4:memory:/docker/abc\n7:cpu,cpuacct:/docker/abc\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "300000\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_THAT(cgroup_cores(root_.path()), Optional(3.0));
}

TEST_F(Cgroup, Version1WithoutQuotaIsNoLimit) {
  write("proc/self/cgroup", "7:cpu:/\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cgroup_cores(root_.path()), std::nullopt);
}

TEST_F(Cgroup, OtherControllersDoNotCount) {
  write("proc/self/cgroup", "3:cpuset:/\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cgroup_cores(root_.path()), std::nullopt);
}

TEST(DefaultThreads, AreThoseOfOmpNumThreadsElseTheUsableCores) {
  const char* before = std::getenv("OMP_NUM_THREADS");
  const std::string saved = before == nullptr ? "" : before;
  setenv("OMP_NUM_THREADS", "3", 1);
  EXPECT_EQ(default_threads(), 3);
  setenv("OMP_NUM_THREADS", "5,2", 1);  // of nested regions, too
  EXPECT_EQ(default_threads(), 5);
  for (const char* nothing : {"", "many", "0", "-2"}) {
    setenv("OMP_NUM_THREADS", nothing, 1);
    EXPECT_EQ(default_threads(), usable_cores()) << nothing;
  }
  unsetenv("OMP_NUM_THREADS");
  EXPECT_EQ(default_threads(), usable_cores());
  EXPECT_GE(usable_cores(), 1);
  EXPECT_LE(usable_cores(), static_cast<int>(std::thread::hardware_concurrency()));
  if (before != nullptr) setenv("OMP_NUM_THREADS", saved.c_str(), 1);
}

}  // namespace
}  // namespace peft
