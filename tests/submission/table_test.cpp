#include "peft/submission/table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "peft/data/task.h"

namespace peft {
namespace {

std::vector<std::string> names(const std::string& benchmark) {
  std::vector<std::string> all;
  for (const SubmissionFile* file : submission_files(benchmark)) all.push_back(file->name);
  return all;
}

TEST(SubmissionTable, HasTheFilesOfBothLeaderboards) {
  EXPECT_EQ(names("glue"),
            (std::vector<std::string>{"AX.tsv", "CoLA.tsv", "MNLI-m.tsv", "MNLI-mm.tsv", "MRPC.tsv", "QNLI.tsv",
                                      "QQP.tsv", "RTE.tsv", "SST-2.tsv", "STS-B.tsv", "WNLI.tsv"}));
  EXPECT_EQ(names("superglue"),
            (std::vector<std::string>{"AX-b.jsonl", "AX-g.jsonl", "BoolQ.jsonl", "CB.jsonl", "COPA.jsonl",
                                      "MultiRC.jsonl", "RTE.jsonl", "ReCoRD.jsonl", "WSC.jsonl", "WiC.jsonl"}));
  EXPECT_TRUE(names("other").empty());
}

TEST(SubmissionTable, IsSortedByNameAsTheArchiveIs) {
  for (const char* benchmark : {"glue", "superglue"}) {
    const auto sorted = names(benchmark);
    EXPECT_TRUE(std::is_sorted(sorted.begin(), sorted.end())) << benchmark;
  }
}

TEST(SubmissionTable, FindsTheFilesOfATask) {
  EXPECT_EQ(submission_files_of_task("mnli").size(), 2U);
  ASSERT_EQ(submission_files_of_task("glue/rte").size(), 1U);
  EXPECT_EQ(submission_files_of_task("glue/rte").front()->name, "RTE.tsv");
  EXPECT_EQ(submission_files_of_task("superglue/rte").front()->name, "RTE.jsonl");
  EXPECT_TRUE(submission_files_of_task("classification").empty());
}

// The tables of the tasks and of the files must agree: a class id means the same in both.
TEST(SubmissionTable, SpellsTheClassesOfTheTasksInTheirOrder) {
  int known = 0;
  for (const SubmissionFile& file : submission_table()) {
    const TaskSpec* task = task_registry().find(file.task);
    if (task == nullptr) continue;
    ++known;
    EXPECT_EQ(task->dump.folder, file.folders.front()) << file.name;
    if (const auto rows = task->dump.rows.find(file.split); rows != task->dump.rows.end()) {
      EXPECT_EQ(rows->second, file.kind == LineKind::json_answers ? file.answers : file.lines) << file.name;
    }
    if (!task->has_classes()) continue;
    ASSERT_EQ(task->labels.size(), file.classes.size()) << file.name;
    for (std::size_t id = 0; id < file.classes.size(); ++id) {
      const std::string &ours = task->labels[id], &theirs = file.classes[id];
      const bool capital = theirs == "True" || theirs == "False";
      const bool number = theirs == std::to_string(id);
      EXPECT_TRUE(number || ours == theirs ||
                  (!capital && std::tolower(ours[0]) == theirs[0] && ours.substr(1) == theirs.substr(1)))
          << file.name << ": " << ours << ", " << theirs;
    }
  }
  EXPECT_EQ(known, 21);
}

}  // namespace
}  // namespace peft
