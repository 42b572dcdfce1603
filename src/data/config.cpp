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
}

void ColumnsConfig::visit(Fields& fields) {
  fields.field("text", text, {.help = "column of the text (default: text)"});
  fields.field("text_pair", text_pair, {.help = "column of the second text (default: text_pair, where there is one)"});
  fields.field("choices", choices, {.help = "column of the list of choices (default: choices)"});
  fields.field("label", label, {.help = "column of the label or score (default: label)"});
  fields.field(
      "idx", idx,
      {.help = "column of the example's own integer id (default: idx where there is one, else its number in the file; "
               "\"\": none)"});
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
                .choices = {"auto", "glue_tsv", "csv", "tsv", "jsonl", "hf_parquet", "hf_arrow"}});
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
  fields.field("limit", limit, {.help = "use only the first n examples of a fixed permutation"});
  fields.field("limit_seed", limit_seed, {.help = "seed of that permutation", .min = 0});
}

}  // namespace peft
