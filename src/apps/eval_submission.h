#pragma once
/// What `peft-eval --submission DIR` and `--validate PLACE` do beside evaluating (docs/tasks.md#submissions).

#include <optional>
#include <string>
#include <vector>

#include "peft/submission/folder.h"
#include "peft/train/evaluate.h"
#include "src/apps/eval_arguments.h"

namespace peft {

class EvalSubmission {
 public:
  /// Before anything is evaluated. Throws ConfigError where the tasks of the adapters are none of a leaderboard's, two of one task or of
  /// two benchmarks, or where the folder is not for them.
  explicit EvalSubmission(const EvalArguments& arguments);

  /// Writes what an adapter predicts and returns the paths of the files, two for MNLI. Throws DataError naming the first row that has no
  /// prediction; nothing is written then.
  std::vector<std::string> write(const EvalTarget& target, const Evaluation& evaluation, const EncodedSplit& split,
                                 const TaskInfo& task);

  /// Fills what is missing if that was asked for, makes the archive, checks everything and prints the result. The exit code.
  int finish();

 private:
  std::string path_;
  bool fill_missing_;
  DumpRoots roots_;
  std::optional<SubmissionFolder> folder_;
};

/// Prints what is wrong with a folder or an archive. The exit code. Throws DataError.
int validate_place(const EvalArguments& arguments);

}  // namespace peft
