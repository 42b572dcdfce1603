#include "peft/data/config.h"

#include "peft/data/task.h"

namespace peft {
namespace {

// As a user may write them: without the benchmark where that is enough.
std::string known_tasks() {
  std::string list;
  for (const std::string& name : task_registry().names()) {
    const std::string plain = name.substr(name.find('/') + 1);
    list += (list.empty() ? "" : ", ") + (resolve_task_name(plain) == name ? plain : name);
  }
  return list;
}

}  // namespace

void TaskConfig::visit(Fields& fields) {
  fields.field("name", name, {.help = known_tasks(), .required = true});
  fields.field("data", data, {.help = "the task's folder, its parent, or one file", .per_job = true});
  fields.field("max_length", max_length,
               {.help = "tokens of an example with special tokens, without prompt tokens", .min = 1});
  fields.field("doc_stride", doc_stride,
               {.help = "span: tokens that two windows of a text longer than max_length share, at most half a window",
                .min = 0});
}

void ColumnsConfig::visit(Fields& fields) {
  fields.field("text", text, {.help = "column of the text (default: text)"});
  fields.field("text_pair", text_pair, {.help = "column of the second text (default: text_pair, where there is one)"});
  fields.field("choices", choices, {.help = "column of the list of choices (default: choices)"});
  fields.field("tokens", tokens,
               {.help = "column of the list of words (default: tokens; of conll files its number, default: 0)"});
  fields.field("label", label,
               {.help = "column of the label or score (default: label; of tags: tags, of conll files -1, the last)"});
  fields.field(
      "idx", idx,
      {.help = "column of the example's own integer id (default: idx where there is one, else its number in the file; "
               "\"\": none)"});
}

void SplitConfig::visit(Fields& fields) {
  fields.field("split_policy", policy,
               {.help = "whence train, dev and test come; official: the files' own; dept: a test split with labels, as "
                        "the DePT and ADePT papers make it; holdout: dev out of train, and dev of the files is test; "
                        "files: the splits of data.files, test among them",
                .choices = {"official", "dept", "holdout", "files"}});
  fields.field("dev_size", dev_size,
               {.help = "of holdout: rows of train that become dev, or their share below 1 (default: a tenth, 1000 at "
                        "most)",
                .min = 0,
                .min_exclusive = true});
  fields.field("stratify", stratify, {.help = "of holdout: dev has the classes of train in their shares"});
  fields.field("split_seed", seed, {.help = "of dept and holdout: seed of their permutation", .min = 0});
  fields.field("dept_group_multirc", dept_group_multirc,
               {.help = "of dept: MultiRC's passages are permuted, not its answers, so that questions stay whole"});
  fields.field("k_shot", k_shot, {.help = "train on so many examples of each class", .min = 1});
  fields.field("k_shot_total", k_shot_total,
               {.help = "train on so many examples, of each class the same number as far as that goes", .min = 1});
  fields.field("k_shot_seed", k_shot_seed, {.help = "which examples these are (default: train.seed)", .min = 0});
  fields.field("k_shot_dev", k_shot_dev, {.help = "dev has as few, chosen alike"});
  fields.field("compat", compat,
               {.help = "dept: the choices of the DePT reference code, each also a key data.dept_...",
                .choices = {"none", "dept"}});
  fields.field("dept_metrics", dept_metrics,
               {.help = "the metrics of that code: macro_f1_all chooses on CB, f1 scores the torn questions of MultiRC "
                        "(default: with compat \"dept\")"});
}

void LimitConfig::visit(Fields& fields) {
  fields.field("train", train, {.help = "examples of train to use", .min = 1});
  fields.field("dev", dev, {.help = "examples of dev to use", .min = 1});
  fields.field("test", test, {.help = "examples of test to use", .min = 1});
}

void DataConfig::visit(Fields& fields) {
  fields.field("files", files, {.help = "split (train, dev, test) to file, in place of looking in task.data"});
  fields.field("columns", columns, {.help = "our column names to those of the files, for tasks on files of your own"});
  fields.field("labels", labels,
               {.help = "class names in id order; empty: the task's own, or those of the train split"});
  fields.field("format", format,
               {.help = "format of the files; auto: by name",
                .choices = {"auto", "glue_tsv", "csv", "tsv", "conll", "jsonl", "hf_parquet", "hf_arrow"}});
  fields.field("delimiter", delimiter, {.help = "one character between the fields of a csv file"});
  fields.field("quoting", quoting,
               {.help = "of tsv files: none, or csv for quotes as in csv", .choices = {"none", "csv"}});
  fields.field("on_bad_row", on_bad_row,
               {.help = "error: stop at the first bad row; skip: count it (default: error, but skip for QQP's train)",
                .choices = {"error", "skip"}});
  fields.field("max_bad_fraction", max_bad_fraction,
               {.help = "share of bad rows of a file above which skip is an error", .min = 0, .max = 1});
  fields.field("max_line_bytes", max_line_bytes, {.help = "longer lines are bad rows", .min = 1});
  fields.field("paws_bytes", paws_bytes, {.help = "paws: texts stand in Python's b'...', which is taken off"});
  split.visit(fields);
  fields.field("limit", limit, {.help = "use only the first n examples of a fixed permutation"});
  fields.field("limit_seed", limit_seed, {.help = "seed of that permutation", .min = 0});
}

}  // namespace peft
