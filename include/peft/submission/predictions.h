#pragma once
/// From the predictions of a test split to the rows of a leaderboard's file.

#include <span>
#include <vector>

#include "peft/data/encoded_split.h"
#include "peft/submission/rows.h"

namespace peft {

/// One row for each example of the split, or of the part that the file answers (MNLI's `matched`); none where the split has no such part.
/// A choice among candidates becomes the candidate's text. Throws DataError where examples lack the numbers of what holds them, which
/// MultiRC and ReCoRD need.
std::vector<SubmissionRow> predicted_rows(const SubmissionFile& file, const EncodedSplit& split,
                                          std::span<const Target> predictions);

}  // namespace peft
