#pragma once
/// Which file holds which split (docs/tasks.md#finding-files).

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "peft/data/config.h"
#include "peft/data/rows.h"
#include "peft/data/task.h"

namespace peft {

struct SplitFile {
  std::filesystem::path path;
  FileFormat format = FileFormat::tsv;
  std::vector<std::filesystem::path> more = {};  ///< parquet, arrow: the split goes on in these, in this order
  std::string name() const;                      ///< for messages: the path, "and 3 more"
};

/// Files of all splits that are there, by canonical name: those named in data.files, the others in the folder task.data or in its
/// subfolder with the name of the task's dump (any case). When task.data is a file it is the only split in `asked`.
/// Throws ConfigError (unknown split, one file for several splits) and DataError (missing path or shard, two formats of one split, one file
/// given for two splits, nothing found of the splits asked for).
std::map<std::string, SplitFile> find_split_files(const TaskSpec& spec, const TaskConfig& task, const DataConfig& data,
                                                  const std::vector<std::string>& asked);

}  // namespace peft
