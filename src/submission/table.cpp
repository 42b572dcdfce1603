#include "peft/submission/table.h"

#include <algorithm>

namespace peft {
namespace {

using Words = std::vector<std::string>;

std::vector<SubmissionFile> make_table() {
  const std::string g = "glue", s = "superglue", test = "test", index = "index";
  const Words digits{"0", "1"}, pair{"entailment", "not_entailment"}, nli{"entailment", "neutral", "contradiction"},
      truth{"false", "true"}, capital_truth{"False", "True"}, tsv{"test.tsv"}, jsonl{"test.jsonl"},
      matched{"test_matched.tsv", "test-matched.tsv", "test_m.tsv", "test-m.tsv"},
      mismatched{"test_mismatched.tsv", "test-mismatched.tsv", "test_mm.tsv", "test-mm.tsv"};
  using enum LineKind;
  return {
      {g,
       "AX.tsv",
       "ax",
       test,
       tsv_class,
       nli,
       1104,
       {"AX", "diagnostic"},
       {"diagnostic.tsv", "AX.tsv", "test.tsv"},
       index},
      {g, "CoLA.tsv", "cola", test, tsv_class, digits, 1063, {"CoLA"}, tsv, index},
      {g, "MNLI-m.tsv", "mnli", "test_matched", tsv_class, nli, 9796, {"MNLI"}, matched, index},
      {g, "MNLI-mm.tsv", "mnli", "test_mismatched", tsv_class, nli, 9847, {"MNLI"}, mismatched, index},
      {g, "MRPC.tsv", "mrpc", test, tsv_class, digits, 1725, {"MRPC"}, tsv, index},
      {g, "QNLI.tsv", "qnli", test, tsv_class, pair, 5463, {"QNLI"}, tsv, index},
      {g, "QQP.tsv", "qqp", test, tsv_class, digits, 390965, {"QQP"}, tsv, "id"},
      {g, "RTE.tsv", "glue/rte", test, tsv_class, pair, 3000, {"RTE"}, tsv, index},
      {g, "SST-2.tsv", "sst2", test, tsv_class, digits, 1821, {"SST-2"}, tsv, index},
      {g, "STS-B.tsv", "stsb", test, tsv_score, {}, 1379, {"STS-B"}, tsv, index},
      {g, "WNLI.tsv", "wnli", test, tsv_class, digits, 146, {"WNLI"}, tsv, index},
      {s, "AX-b.jsonl", "superglue/axb", test, json_class, pair, 1104, {"AX-b"}, {"AX-b.jsonl", "test.jsonl"}},
      {s, "AX-g.jsonl", "superglue/axg", test, json_class, pair, 356, {"AX-g"}, {"AX-g.jsonl", "test.jsonl"}},
      {s, "BoolQ.jsonl", "superglue/boolq", test, json_class, truth, 3245, {"BoolQ"}, jsonl},
      {s, "CB.jsonl", "superglue/cb", test, json_class, {"entailment", "contradiction", "neutral"}, 250, {"CB"}, jsonl},
      {s, "COPA.jsonl", "superglue/copa", test, json_number, digits, 500, {"COPA"}, jsonl},
      {s, "MultiRC.jsonl", "superglue/multirc", test, json_answers, digits, 166, {"MultiRC"}, jsonl, "", 1820, 9693},
      {s, "RTE.jsonl", "superglue/rte", test, json_class, pair, 3000, {"RTE"}, jsonl},
      {s, "ReCoRD.jsonl", "superglue/record", test, json_text, {}, 10000, {"ReCoRD"}, jsonl},
      {s, "WSC.jsonl", "superglue/wsc", test, json_class, capital_truth, 146, {"WSC"}, jsonl},
      {s, "WiC.jsonl", "superglue/wic", test, json_class, truth, 1400, {"WiC"}, jsonl},
  };
}

template <class Predicate>
std::vector<const SubmissionFile*> matching(const Predicate& predicate) {
  std::vector<const SubmissionFile*> found;
  for (const SubmissionFile& file : submission_table())
    if (predicate(file)) found.push_back(&file);
  return found;
}

}  // namespace

const std::vector<SubmissionFile>& submission_table() {
  static const std::vector<SubmissionFile> table = make_table();
  return table;
}

std::vector<const SubmissionFile*> submission_files(const std::string& benchmark) {
  return matching([&](const SubmissionFile& file) { return file.benchmark == benchmark; });
}

std::vector<const SubmissionFile*> submission_files_of_task(const std::string& task) {
  return matching([&](const SubmissionFile& file) { return file.task == task; });
}

std::string benchmark_title(const std::string& benchmark) { return benchmark == "glue" ? "GLUE" : "SuperGLUE"; }

}  // namespace peft
