#pragma once
/// Splits in the files of the datasets library (docs/tasks.md#finding-files): Parquet files in one or several shards, and folders of
/// save_to_disk.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "peft/data/split_files.h"

namespace peft {

/// What a folder holds of a split with this spelling, one entry for each shape: SPLIT-00000-of-0000N.parquet, SPLIT.parquet, and a
/// folder SPLIT that holds *.parquet or was written by save_to_disk. `format` is data.format. Throws DataError where a shard is missing.
std::vector<SplitFile> find_tables(const std::filesystem::path& folder, const std::string& spelling,
                                   const std::string& format);

/// A folder whose Parquet files, sorted by name, or Arrow files are one split.
std::vector<SplitFile> read_table_folder(const std::filesystem::path& folder, const std::string& format);

/// Whether save_to_disk wrote one data set into this folder.
bool is_saved_dataset(const std::filesystem::path& folder);

}  // namespace peft
