#pragma once
/// What reading a data set saw, for --dry-run and for run records (docs/tasks.md#reports-and-fingerprints).

#include <string>

#include "peft/base/json.h"
#include "peft/data/dataset.h"

namespace peft {

/// What the split policy did: {"split_policy"} and, where they apply, "split_seed", "dev_size", "stratify", "dept_group_multirc", "k_shot" or
/// "k_shot_total", "k_shot_seed", "k_shot_dev", "compat": ["dept_metrics"].
Json describe_policy(const Dataset& dataset);

/// Split -> {files, rows, skipped: {kind: n}, labels: {name: n}, majority: {label, share}, hidden_labels, tokens: {"50": n, ...},
/// lengths: [{up_to, rows}], all_tokens, truncated, lost_tokens, empty_texts, overlap_with_train, odd: {kind: n}, parts: {name: rows}}. Absent:
/// labels and majority of scores, texts and hidden labels, majority of sets, the overlap where train was not read, odd where there was nothing,
/// parts of a split that has none.
Json describe_splits(const Dataset& dataset);

/// Everything: {task, policy, what describe_policy tells of it, splits, fingerprint}.
Json describe_dataset(const Dataset& dataset);

/// The same for people: the policy, and one block of lines per split, in the order train, dev, test.
std::string describe_dataset_text(const Dataset& dataset);

}  // namespace peft
