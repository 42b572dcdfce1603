// For tests/oracle/leaderboard_test.py.
//   test-submission make FOLDER BENCHMARK [ROOT]: every file, with predictions that follow from the indices, as the
//   test computes them too test-submission check PLACE [ROOT]: the failures, a line each
#include <fmt/format.h>

#include <cstdio>
#include <iostream>

#include "peft/base/error.h"
#include "peft/base/json.h"
#include "peft/submission/folder.h"

namespace peft {
namespace {

void predict(const SubmissionFile& file, const TestRows& rows, SubmissionRow& row) {
  const auto [a, b, c] = row.idx;
  const int64_t number = 31 * a + 17 * b + 7 * c;
  if (file.kind == LineKind::tsv_score) {
    row.prediction = static_cast<double>(number % 71) / 13 - 0.2;
  } else if (file.kind == LineKind::json_text) {
    const auto known = rows.entities.find(b);
    row.prediction = known == rows.entities.end()
                         ? fmt::format("entity \"{}\"", number)
                         : known->second[static_cast<std::size_t>(number) % known->second.size()];
  } else {
    row.prediction = number % static_cast<int64_t>(file.classes.size());
  }
}

int make(const std::string& folder, const std::string& benchmark, const DumpRoots& roots) {
  SubmissionFolder submission(folder, benchmark);
  for (const SubmissionFile* file : submission_files(benchmark)) {
    const TestRows expected = expected_rows(*file, roots);
    std::vector<SubmissionRow> rows = constant_rows(*file, expected);
    for (SubmissionRow& row : rows) predict(*file, expected, row);
    submission.write(*file, submission_text(*file, rows, file->name),
                     {.run = "runs/" + file->task, .adapter_hash = "abc", .rows = static_cast<int64_t>(rows.size())});
  }
  const Validation validation = submission.finish(roots);
  for (const std::string& line : validation.failures) fmt::print("{}\n", line);
  return validation.passed() ? 0 : 3;
}

/// One result for each line `PLACE<TAB>ROOT` of the standard input; an empty root: none.
int check_all() {
  std::string line;
  while (std::getline(std::cin, line)) {
    const std::string place = line.substr(0, line.find('\t')), root = line.substr(line.find('\t') + 1);
    Json failures;
    try {
      failures = validate_submission(place, root.empty() ? DumpRoots{} : dump_roots(root)).failures;
    } catch (const DataError& error) {
      failures = {error.what()};
    }
    fmt::print("{}\n", failures.dump());
  }
  return 0;
}

int run(const std::vector<std::string>& arguments) {
  if (arguments.at(0) == "check") return check_all();
  return make(arguments.at(1), arguments.at(2), arguments.size() > 3 ? dump_roots(arguments[3]) : DumpRoots{});
}

}  // namespace
}  // namespace peft

int main(int argc, char** argv) { return peft::run({argv + 1, argv + argc}); }
