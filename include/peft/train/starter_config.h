#pragma once
/// The config that `peft-tool init` writes.

#include <optional>
#include <string>

namespace peft {

struct StarterOptions {
  std::string method, task;
  std::string model = "models/minilm";
  std::optional<std::string> data = {};  ///< absent: "data/" and the folder of the task's dump, or of the task's name
};

/// A run config as text: JSON with a comment behind each value that says why. It trains as it stands where model and data are there.
/// Throws ConfigError on an unknown method or task.
std::string starter_config(const StarterOptions& options);

}  // namespace peft
