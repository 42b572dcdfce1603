#pragma once
/// From the examples of files to splits.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "encoded_file.h"
#include "peft/data/split_policy.h"

namespace peft {

/// What the distribution of rows needs to know.
struct Distribution {
  const TaskSpec& spec;
  const std::string& task;
  const DataConfig& data;
  const std::vector<std::string>& labels;
};

/// Whether `split` is all examples of its files in their order, or the first ones of data.limit.
bool is_whole(const std::string& split, const Distribution& rules);

/// The splits `names`, all of which come from the files of `files_split`, in the same order: cut by the policy, then made few by k-shot or
/// data.limit, with statistics of their own. Throws as cut_rows and choose_k_shot.
std::vector<EncodedFile> distribute(const EncodedFile& file, const std::string& files_split,
                                    const std::vector<std::string>& names, const Distribution& rules);

/// Of train, dev or test, with its part or without.
std::optional<int64_t> limit_of(const LimitConfig& limits, const std::string& split);

}  // namespace peft
