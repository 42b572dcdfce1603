#pragma once
/// The sections `task` and `data` of a run config.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "peft/base/fields.h"

namespace peft {

struct TaskConfig {
  std::string name;          ///< docs/tasks.md#tasks-of-glue: "sst2", "glue/rte", "classification", ...
  std::string data;          ///< file or folder; may be empty when data.files names every split
  int64_t max_length = 128;  ///< tokens of a text with its special tokens, without prompt tokens
  int64_t doc_stride = 128;  ///< of TargetKind::span: tokens that two windows of a long text share
  void visit(Fields& fields);
};

/// Our names of the columns to theirs, for the tasks on the user's own files. A nested JSON key is written a.b.
struct ColumnsConfig {
  std::optional<std::string> text, text_pair, choices, tokens, label, idx;
  void visit(Fields& fields);
};

/// Which rows train, choose and report (docs/tasks.md#split-policies); its keys stand in the section `data`.
struct SplitConfig {
  std::string policy = "official";      ///< official, dept, holdout, files
  std::optional<double> dev_size = {};  ///< of holdout: rows, or below 1 the share of train
  bool stratify = false;
  int64_t seed = 42;
  bool dept_group_multirc = false;
  std::optional<int64_t> k_shot = {}, k_shot_total = {},
                         k_shot_seed = {};  ///< of a run, the seed is train.seed where it is absent
  bool k_shot_dev = false;
  std::string compat = "none";            ///< none, dept
  std::optional<bool> dept_metrics = {};  ///< absent: as compat says
  void visit(Fields& fields);
};

struct LimitConfig {
  std::optional<int64_t> train = {}, dev = {}, test = {};
  void visit(Fields& fields);
};

struct DataConfig {
  std::map<std::string, std::string> files;  ///< split -> file
  ColumnsConfig columns;
  std::vector<std::string> labels;  ///< id order; empty: from the task, or the sorted set of the train split
  std::string format = "auto";      ///< auto, glue_tsv, csv, tsv, conll, jsonl, hf_parquet, hf_arrow
  std::string delimiter = ",";
  std::string quoting = "none";  ///< of tsv: none, csv
  std::optional<std::string>
      on_bad_row;  ///< error, skip; absent: error, but skip where the task's file is known to be torn
  double max_bad_fraction = 0.01;
  int64_t max_line_bytes = 16 << 20;
  bool paws_bytes = false;
  SplitConfig split;
  LimitConfig limit;
  int64_t limit_seed = 42;
  void visit(Fields& fields);
};

}  // namespace peft
