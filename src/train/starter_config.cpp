#include "peft/train/starter_config.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "peft/base/error.h"
#include "peft/base/summaries.h"
#include "peft/data/task.h"
#include "peft/methods/method.h"

namespace peft {
namespace {

struct Line {
  std::string key, value;  // of JSON
  std::string why;
};

const Line kRows{"num_virtual_tokens", "20", "rows in front of the text; each takes a position of it"};
const Line kFromWords{"prompt_tuning_init", "\"SAMPLE_VOCAB\"", "rows start as embeddings of random words"};
const Line kPairs{"num_virtual_tokens", "20", "key/value pairs in front of each layer's"};

/// Keys of a method that are worth a thought; others keep their defaults.
std::vector<Line> keys_of(const std::string& method) {
  if (method == "lora") {
    return {{"r", "8", "rank of the additions"},
            {"lora_alpha", "16", "they are scaled by lora_alpha / r"},
            {"target_modules", "\"all-linear\"", "better than query and value alone, at three times the numbers"}};
  }
  if (method == "prompt")
    return {kRows, kFromWords, {"pooling", "\"cls\"", "reads the text's own first token; \"first\" is as in peft"}};
  if (method == "p_tuning") return {kRows};
  if (method == "p_tuning_v2" || method == "prefix") return {kPairs};
  if (method == "dept")
    return {kRows, {"r", "30", "rank of the offsets, which make up for a short prompt"}, kFromWords};
  if (method == "adept") return {kRows, {"r", "19", "width of the network on the embeddings"}, kFromWords};
  return {};
}

/// By the number of training rows, so that a run has hundreds of steps.
std::string epochs(int64_t rows) {
  if (rows == 0) return "3";
  return rows < 1000 ? "20" : rows < 3000 ? "10" : rows < 10000 ? "5" : "1";
}

int64_t train_rows(const TaskSpec& task) {
  const auto found = task.dump.rows.find("train");
  return found == task.dump.rows.end() ? 0 : found->second;
}

bool has_pairs(const TaskSpec& task) { return task.own_files || !task.sequences.front().text_pair.empty(); }

Line text_line(const std::string& key, const std::string& value, const std::string& why) {
  return {key, Json(value).dump(), why};
}

std::string data_comment(const TaskSpec& task) {
  if (task.target == TargetKind::span)
    return "a folder with train.json and dev.json as SQuAD has them (MRQA's jsonl, parquet)";
  if (task.target == TargetKind::tags)
    return "a folder with train.conll and dev.conll: word and tag a line (jsonl: tokens and tags, or text and spans)";
  if (!task.own_files) return fmt::format("the unpacked dump {}: train, dev and test", task.dump.folder);
  return "a folder with train.tsv and dev.tsv (csv, jsonl): columns " +
         std::string(task.target == TargetKind::choice ? "text, choices, label"
                                                       : "label, text and, for pairs, text_pair");
}

std::string section(const std::string& name, const std::vector<Line>& lines) {
  std::size_t widest = 0;
  for (const Line& line : lines) widest = std::max(widest, line.key.size() + line.value.size());
  std::string text = fmt::format("  \"{}\": {{\n", name);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const auto& [key, value, why] = lines[i];
    text += fmt::format("    \"{}\": {}{}{}  // {}\n", key, value, i + 1 < lines.size() ? "," : " ",
                        std::string(widest - key.size() - value.size(), ' '), why);
  }
  return text + "  },\n";
}

std::vector<Line> train_lines(const std::string& method, const TaskSpec& task) {
  const auto defaults = methods().at(method).config();
  const int64_t rows = train_rows(task);
  std::vector<Line> lines{{"learning_rate", Json(defaults->learning_rate()).dump(), "the method's own default"}};
  if (!defaults->learning_rates().empty())
    lines.push_back(
        {"learning_rates", Json(defaults->learning_rates()).dump(), "of groups of its tensors that learn otherwise"});
  lines.push_back({"num_train_epochs", epochs(rows),
                   rows > 0 ? fmt::format("passes over the {} training rows", rows) : "passes over the training rows"});
  const bool choices = task.target == TargetKind::choice || task.target == TargetKind::choices;
  lines.push_back({"batch_size", choices ? "16" : "32",
                   choices ? "examples a step, each a sequence for every choice" : "examples a step"});
  lines.push_back({"lr_scheduler_type", "\"linear\"", "the rate falls to 0 over the run"});
  lines.push_back({"warmup_ratio", "0.06", "and rises over the first steps"});
  lines.push_back(text_line("metric_for_best_model", task.metrics.front(),
                            task.metrics.size() == 1 ? "chooses best/ on dev, after every epoch"
                                                     : fmt::format("chooses best/ on dev, after every epoch; known: {}",
                                                                   fmt::join(task.metrics, ", "))));
  lines.push_back({"seed", "42", "another one gives another start, order and dropout"});
  return lines;
}

}  // namespace

std::string starter_config(const StarterOptions& options) {
  static_cast<void>(methods().at(options.method));
  const std::string name = resolve_task_name(options.task), last = name.substr(name.find('/') + 1);
  const TaskSpec& task = task_registry().at(name);
  if (!task.trained_as.empty()) {
    throw_error<ConfigError>("{} has no training rows; train on {}, and evaluate with peft-eval --task {} --split test",
                             last, task.trained_as, last);
  }
  const Summary& method = summaries("method").at(options.method);
  const std::string folder = task.dump.folder.empty() ? last : task.dump.folder;

  std::vector<Line> method_lines{text_line("type", options.method, method.text)};
  for (const Line& line : keys_of(options.method)) method_lines.push_back(line);
  const Line dropout =
      options.method == "full"
          ? Line{"dropout", "\"checkpoint\"", "the model's own rates"}
          : Line{"dropout", "0", "few trained numbers learn better without; \"checkpoint\": the model's own"};
  return fmt::format(
             "// {} on {}. Written by peft-tool init; every other key has its default (peft-tool schema).\n{{\n",
             options.method, name) +
         section("model",
                 {text_line("path", options.model, "a model folder, or a name in Hugging Face's cache"),
                  text_line("dtype", "float32", "of the frozen weights; bfloat16 is faster on newer processors"),
                  dropout}) +
         section("task", {text_line("name", name, summaries("task").at(name).text),
                          text_line("data", options.data.value_or("data/" + folder), data_comment(task)),
                          task.target == TargetKind::span
                              ? Line{"max_length", "384", "tokens of question and text; longer texts become windows"}
                              : Line{"max_length", has_pairs(task) ? "128" : "64",
                                     "tokens of a text; longer ones are cut, --dry-run counts them"}}) +
         section("method", method_lines) + section("train", train_lines(options.method, task)) +
         fmt::format("  \"output\": {}  // the run folder, from where the program is started\n}}\n",
                     Json(fmt::format("runs/{}-{}", last, options.method)).dump());
}

}  // namespace peft
