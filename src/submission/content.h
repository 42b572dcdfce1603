#pragma once
/// The rules for the bytes of one file (docs/tasks.md#submissions). Private to src/submission.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "peft/submission/rows.h"
#include "src/submission/findings.h"

namespace peft {

struct ContentLine {
  int64_t number = 0;  ///< from 1
  std::string_view text;
  bool utf8 = true;
};

/// Whether all lines predict the same. Predictions of jsonl files are JSON text.
class PredictionTally {
 public:
  void add(std::string_view prediction);
  /// Several predictions, all of them this one.
  bool constant() const { return count_ > 1 && alike_; }
  const std::string& first() const { return first_; }
  int64_t count() const { return count_; }

 private:
  std::string first_;
  int64_t count_ = 0;
  bool alike_ = true;
};

/// Both take lines without their ends, none of them empty. `last_line`: of the file.
void check_tsv(const SubmissionFile& file, const std::vector<ContentLine>& lines, int64_t last_line,
               const TestRows& rows, Findings& findings, PredictionTally& tally);
void check_json(const SubmissionFile& file, const std::vector<ContentLine>& lines, int64_t last_line,
                const TestRows& rows, Findings& findings, Findings& warnings, PredictionTally& tally);

/// "glue_data/RTE/test.tsv", or "the leaderboard".
std::string source_of(const TestRows& rows);

}  // namespace peft
