#pragma once
/// The files that the leaderboards of GLUE and SuperGLUE take (docs/tasks.md#submissions): one row of a table each.

#include <cstdint>
#include <string>
#include <vector>

namespace peft {

/// What a line holds. Lines of tsv files stand behind the header `index<TAB>prediction`.
enum class LineKind {
  tsv_class,    ///< index, a class
  tsv_score,    ///< index, a score of 0 to 5 with three decimals
  json_class,   ///< {"idx": 0, "label": "entailment"}
  json_number,  ///< {"idx": 0, "label": 1}
  json_text,    ///< {"idx": 0, "label": "some words"}
  json_answers  ///< {"idx": 0, "passage": {"questions": [{"idx": 0, "answers": [{"idx": 0, "label": 1}]}]}}
};

struct SubmissionFile {
  std::string benchmark;  ///< "glue", "superglue"
  std::string name;       ///< "RTE.tsv"
  std::string task;       ///< full name of the task: "glue/rte"
  std::string split;      ///< whose examples it answers
  LineKind kind = LineKind::tsv_class;
  std::vector<std::string> classes;     ///< class id -> how it is spelled; empty: scores, texts
  int64_t lines = 0;                    ///< official number, without the header
  std::vector<std::string> folders;     ///< names that the folder of the dump may have
  std::vector<std::string> dump_files;  ///< names that the dump's test file may have
  std::string index = {};               ///< its column of indices in tsv
  int64_t questions = 0, answers = 0;   ///< official numbers of json_answers

  bool tsv() const { return kind == LineKind::tsv_class || kind == LineKind::tsv_score; }
};

/// All of them, those of a benchmark by name.
const std::vector<SubmissionFile>& submission_table();
/// Those of a benchmark, sorted by name.
std::vector<const SubmissionFile*> submission_files(const std::string& benchmark);
/// Those that hold the predictions of a task: none, one, or MNLI's two.
std::vector<const SubmissionFile*> submission_files_of_task(const std::string& task);
/// "GLUE", "SuperGLUE".
std::string benchmark_title(const std::string& benchmark);

}  // namespace peft
