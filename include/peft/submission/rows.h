#pragma once
/// Predictions of test examples, and the text of a leaderboard's file.

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "peft/submission/table.h"

namespace peft {

struct SubmissionRow {
  /// Of the example: passage, question, answer for MultiRC; passage, query for ReCoRD; else one number.
  std::array<int64_t, 3> idx{};
  /// A class id or the number of a choice, a score, a text; nothing: invalid.
  std::variant<std::monostate, int64_t, double, std::string> prediction = {};
};

/// The file as the leaderboard takes it: UTF-8, LF, rows in ascending order of their indices. Scores are clamped to 0..5. Throws DataError
/// `ORIGIN: idx 17: ...`: an invalid prediction, or an index that occurs twice.
std::string submission_text(const SubmissionFile& file, std::vector<SubmissionRow> rows, const std::string& origin);

/// What a file must answer: the examples of a dump's test file, or the official number of them.
struct TestRows {
  using Questions = std::map<int64_t, std::set<int64_t>>;  ///< question -> answers

  std::filesystem::path source;                          ///< empty: the official numbers, 0, 1, ...
  std::vector<int64_t> idx;                              ///< of the file's lines, ascending
  std::map<int64_t, Questions> passages;                 ///< of MultiRC, by passage; empty without a dump
  std::map<int64_t, std::vector<std::string>> entities;  ///< of ReCoRD, by query; empty without a dump
};

TestRows official_rows(const SubmissionFile& file);

/// Folders that hold dumps, looked at in this order.
using DumpRoots = std::vector<std::filesystem::path>;

/// What `task.data` and `--data` name, and the folder around it where that is a task's folder or a file.
DumpRoots dump_roots(const std::filesystem::path& data);

/// Reads the test file of a dump in `root`, which is the task's folder or contains it (`RTE`, in any case). Nothing where there is none.
/// Throws DataError `FILE:LINE: ...` for a file that cannot be read.
std::optional<TestRows> read_test_rows(const SubmissionFile& file, const std::filesystem::path& root);

/// Class id 0, the score 0 or the empty text for every example. Throws DataError for MultiRC's official numbers, which do not tell the
/// questions of a passage.
std::vector<SubmissionRow> constant_rows(const SubmissionFile& file, const TestRows& rows);

}  // namespace peft
