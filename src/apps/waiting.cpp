#include "src/apps/waiting.h"

#include <sched.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "peft/base/cores.h"

namespace peft {
namespace {

constexpr std::chrono::milliseconds kSample{100};  // ten ticks of the kernel's clock on each core
constexpr double kIdleEnough = 0.7;                // of a core for each thread: less, and spinning threads would fight

struct CpuTime {
  double idle = 0.0, total = 0.0;
};

/// Of each core that this process may use, from /proc/stat: "cpu0 user nice system idle iowait ...", in ticks.
std::map<int, CpuTime> read_cpu_times() {
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return {};
  std::map<int, CpuTime> times;
  std::ifstream stat("/proc/stat");
  for (std::string line; std::getline(stat, line) && line.starts_with("cpu");) {
    const int core = line[3] == ' ' ? -1 : std::atoi(line.c_str() + 3);  // the first line is the sum of all
    if (core < 0 || core >= CPU_SETSIZE || !CPU_ISSET(core, &mask)) continue;
    std::istringstream fields(line.substr(line.find(' ')));
    double ticks = 0.0;
    for (int field = 0; field < 8 && fields >> ticks; ++field) {
      times[core].total += ticks;
      if (field == 3 || field == 4) times[core].idle += ticks;
    }
  }
  return times;
}

bool cores_are_busy(int64_t threads) {
  auto before = read_cpu_times();
  std::this_thread::sleep_for(kSample);
  double idle_cores = 0.0;
  bool told = false;
  for (const auto& [core, after] : read_cpu_times()) {
    const double total = after.total - before[core].total;
    if (total <= 0.0) continue;
    told = true;
    idle_cores += (after.idle - before[core].idle) / total;
  }
  return told && idle_cores < kIdleEnough * static_cast<double>(threads);
}

/// The words that this program was started with.
std::vector<std::string> command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> words;
  for (std::string word; std::getline(file, word, '\0');) words.push_back(word);
  return words;
}

}  // namespace

void choose_waiting(int64_t num_threads) {
  const int64_t threads = num_threads > 0 ? num_threads : default_threads();
  if (threads == 1) return;  // nobody to wait for
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  if (!cores_are_busy(threads)) return;
  setenv("OMP_WAIT_POLICY", "PASSIVE", 1);
  std::error_code failed;
  const std::filesystem::path self =
      std::filesystem::read_symlink("/proc/self/exe", failed);  // its name, for ps and top
  std::vector<std::string> words = command_line();
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  if (!failed) execv(self.c_str(), arguments.data());  // returns only when it failed: then the threads spin
}

}  // namespace peft
