#include "src/apps/waiting.h"

#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <thread>

namespace peft {
namespace {

constexpr std::chrono::milliseconds kSample{100};  // ten ticks of the kernel's clock on each core
constexpr double kIdleEnough = 0.7;                // of all cores: less, and spinning threads would fight for them

struct CpuTime {
  double idle = 0.0, total = 0.0;
};

/// The first line of /proc/stat: "cpu user nice system idle iowait ...", in ticks.
CpuTime read_cpu_time() {
  std::ifstream stat("/proc/stat");
  std::string label;
  stat >> label;
  CpuTime time;
  double ticks = 0.0;
  for (int field = 0; field < 8 && stat >> ticks; ++field) {
    time.total += ticks;
    if (field == 3 || field == 4) time.idle += ticks;
  }
  return time;
}

bool cores_are_busy() {
  const CpuTime before = read_cpu_time();
  std::this_thread::sleep_for(kSample);
  const CpuTime after = read_cpu_time();
  const double total = after.total - before.total;
  return total > 0.0 && (after.idle - before.idle) / total < kIdleEnough;
}

}  // namespace

void choose_waiting(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  if (const char* threads = std::getenv("OMP_NUM_THREADS"); threads != nullptr && std::string(threads) == "1") return;
  if (!cores_are_busy()) return;
  setenv("OMP_WAIT_POLICY", "PASSIVE", 1);
  std::error_code failed;
  const std::filesystem::path self =
      std::filesystem::read_symlink("/proc/self/exe", failed);  // its name, for ps and top
  if (!failed) execv(self.c_str(), argv);                       // returns only when it failed: then the threads spin
}

}  // namespace peft
