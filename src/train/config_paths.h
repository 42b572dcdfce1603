#pragma once
/// The paths of a config file. Private to src/train.

#include <string>

#include "peft/train/config.h"

namespace peft {

/// Makes the paths of a config absolute. A relative one is that of the first place that has it: the working directory, the folder of the
/// config file `origin`, and for model.path the cache of Hugging Face (base/model_folder.h). One that is nowhere counts from the working
/// directory; so does `output`, always.
void resolve_paths(RunConfig& config, const std::string& origin);

/// Throws DataError for the first relative path of an unresolved config that is nowhere: the key, and what was tried.
void check_paths(const RunConfig& config, const std::string& origin);

/// A config that is about to be run: as RunConfig::from_json(), and what it names must be there.
RunConfig read_run_config(const Json& json, const std::string& origin);

}  // namespace peft
