#pragma once
/// What reading a data set saw, for --dry-run and for run records (docs/tasks.md#reports-and-fingerprints).

#include <string>

#include "peft/base/json.h"
#include "peft/data/dataset.h"

namespace peft {

/// Split -> {files, examples, skipped: {kind: n}, labels: {name: n}, hidden_labels, tokens: {"50": n, ...}, all_tokens, truncated,
/// lost_tokens, empty_texts, overlap_with_train, odd: {kind: n}, parts: {name: examples}}. Absent: labels of scores and hidden ones, the
/// overlap where train was not read, odd where there was nothing, parts of a split that has none.
Json describe_dataset(const Dataset& dataset);

/// The same for people: one block of lines per split, in the order train, dev, test.
std::string describe_dataset_text(const Dataset& dataset);

}  // namespace peft
