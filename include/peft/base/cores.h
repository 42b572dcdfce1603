#pragma once
/// How many CPU threads pay here.

#include <filesystem>
#include <optional>

namespace peft {

/// Cores that this process may use: those of its affinity mask, or fewer where a cgroup grants it less time than that. A part of a core
/// counts as one. At least 1. Read once.
int usable_cores();

/// The first number of OMP_NUM_THREADS; usable_cores() where it is not set or no number.
int default_threads();

/// CPU time per time that the cgroups of this process grant, in cores: the smallest of cpu.max (v2) and cpu.cfs_quota_us (v1) of its groups
/// and of those above them. Nothing: no limit. `root` holds proc/ and sys/.
std::optional<double> cgroup_cores(const std::filesystem::path& root = "/");

}  // namespace peft
