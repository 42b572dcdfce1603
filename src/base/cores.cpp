#include "peft/base/cores.h"

#include <dlfcn.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

namespace fs = std::filesystem;

namespace peft {
namespace {

/// The number at the start of the text, when it is a positive one.
std::optional<double> positive_number(const std::string& text) {
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  if (end == text.c_str() || !(number > 0.0)) return std::nullopt;
  return number;
}

std::string first_word(const fs::path& file) {
  std::string word;
  std::ifstream(file) >> word;
  return word;
}

/// cpu.max: "QUOTA PERIOD" in microseconds; "max PERIOD" is no limit.
std::optional<double> limit_v2(const fs::path& group) {
  std::string quota, period;
  std::ifstream(group / "cpu.max") >> quota >> period;
  const auto granted = positive_number(quota), every = positive_number(period);
  return granted && every ? std::optional(*granted / *every) : std::nullopt;
}

/// A quota of -1 is no limit.
std::optional<double> limit_v1(const fs::path& group) {
  const auto granted = positive_number(first_word(group / "cpu.cfs_quota_us"));
  const auto every = positive_number(first_word(group / "cpu.cfs_period_us"));
  return granted && every ? std::optional(*granted / *every) : std::nullopt;
}

bool names_cpu(const std::string& controllers) {
  std::istringstream names(controllers);
  for (std::string name; std::getline(names, name, ',');) {
    if (name == "cpu") return true;
  }
  return false;
}

/// With OMP_PROC_BIND libgomp binds this thread to a part of its cores before main() begins. It remembers how many there were.
int cores_of_openmp() {
  void* function = dlsym(RTLD_DEFAULT, "omp_get_num_procs");  // not there: no OpenMP in this program
  return function == nullptr ? 0 : reinterpret_cast<int (*)()>(function)();
}

}  // namespace

std::optional<double> cgroup_cores(const fs::path& root) {
  std::optional<double> least;
  const auto take = [&](std::optional<double> limit) {
    if (limit) least = std::min(*limit, least.value_or(std::numeric_limits<double>::infinity()));
  };
  const fs::path mounts = root / "sys/fs/cgroup";
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "7:cpu,cpuacct:/a/b" (v1), "0::/a/b" (v2)
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    // A container sees its own group as the root of the mount, under a path of the host that it does not see.
    for (fs::path group = line.substr(second + 1);; group = group.parent_path()) {
      const fs::path inside = group.relative_path();
      if (controllers.empty()) {
        take(limit_v2(mounts / inside));
      } else if (names_cpu(controllers)) {
        take(limit_v1(mounts / "cpu" / inside));
        take(limit_v1(mounts / "cpu,cpuacct" / inside));
      }
      if (inside.empty()) break;
    }
  }
  return least;
}

int usable_cores() {
  static const int cores = [] {
    cpu_set_t mask;
    double count = sched_getaffinity(0, sizeof mask, &mask) == 0 ? CPU_COUNT(&mask) : 1;
    count = std::max<double>(count, cores_of_openmp());
    if (const auto granted = cgroup_cores()) count = std::min(count, std::ceil(*granted));
    return std::max(1, static_cast<int>(count));
  }();
  return cores;
}

int default_threads() {
  if (const char* wanted = std::getenv("OMP_NUM_THREADS")) {
    if (const int threads = std::atoi(wanted); threads > 0) return threads;
  }
  return usable_cores();
}

}  // namespace peft
