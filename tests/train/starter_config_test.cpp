#include "peft/train/starter_config.h"

#include <gmock/gmock.h>

#include <regex>

#include "peft/data/task.h"
#include "peft/methods/method.h"
#include "peft/train/trainer.h"
#include "tests/support/tiny_task.h"

namespace peft {
namespace {

using testing::HasSubstr;

/// The columns that a task derives its fields from: texts with a blank and a placeholder.
void add_inputs(const TaskSpec& task, int64_t number, Json& row) {
  const std::string words = "w" + std::to_string(number % 7) + " _ @placeholder";
  for (const RecordInput& input : task.inputs) {
    if (input.kind == RecordInput::Kind::optional_number || input.kind == RecordInput::Kind::optional_numbers ||
        input.kind == RecordInput::Kind::optional_text)
      continue;
    row[input.name] = input.kind == RecordInput::Kind::text     ? Json(words)
                      : input.kind == RecordInput::Kind::number ? Json(0)
                                                                : Json{"w1", "w2 w3"};
  }
}

/// A record that the task's JSON Lines reader takes: every field that its sequences name, and a label.
Json record(const TaskSpec& task, int64_t number) {
  Json row{{task.idx, number}};
  for (const std::string& outer : task.outer_idx) row[outer] = number / 2;
  if (!task.group.empty() && task.group != task.idx) row[task.group] = number / 2;
  add_inputs(task, number, row);
  const std::regex field(R"(\{(\w+)([?*]?)\})");
  for (const TaskSpec::Sequence& sequence : task.sequences) {
    const std::string text = task.inputs.empty() ? sequence.text + sequence.text_pair : "";
    for (std::sregex_iterator it(text.begin(), text.end(), field), end; it != end; ++it) {
      const std::string name = (*it)[1];
      if ((*it)[2] == "?") continue;
      const std::string words = "w" + std::to_string(number % 7) + " w" + std::to_string(number % 5);
      const auto wording = task.wordings.find(name);
      row[name] = (*it)[2] == "*"                  ? Json::array({words, "w1", "w2 w3"})
                  : wording == task.wordings.end() ? Json(words)
                                                   : Json(wording->second.begin()->first);
    }
  }
  switch (task.target) {
    case TargetKind::classes:
      row[task.label] = number % 2 == 0 ? Json{"a"} : Json{"a", "b"};
      break;
    case TargetKind::class_id:
      row[task.label] = task.labels.empty() ? Json(number % 2 == 0 ? "a" : "b") : Json(number % 2);
      break;
    case TargetKind::choices:
      row[task.label] = Json{"w1"};
      break;
    case TargetKind::tags:
      row[task.label] = Json{"B-X", "O"};
      break;
    case TargetKind::span:
      row[task.label] = Json{"_"};  // a part of every text
      break;
    default:
      row[task.label] = task.choices.empty() ? Json(number % 2) : Json(task.choices[number % 2]);
  }
  return row;
}

class StarterConfig : public testing::Test {
 protected:
  StarterConfig() : task_("starter_config") {
    TinyBert{.width = 32, .feed_forward = 32, .positions = 200, .labels = 0}.write(task_.folder / "model");
  }

  std::string write_data(const std::string& name) const {
    const auto folder = task_.folder / "records" / name;
    for (const char* split : {"train", "dev"}) {
      std::string text;
      for (int64_t i = 0; i < 6; ++i) text += record(task_registry().at(name), i).dump() + "\n";
      write_atomic(folder / (std::string(split) + ".jsonl"), text);
    }
    return folder.string();
  }

  TinyTask task_;
};

TEST_F(StarterConfig, EveryMethodTrainsOnEveryTask) {
  for (const std::string& task : task_registry().names()) {
    if (!task_registry().at(task).trained_as.empty()) continue;  // the next test
    const std::string data = write_data(task);
    for (const std::string& method : methods().names()) {
      const StarterOptions options{method, task, (task_.folder / "model").string(), data};
      const Json json = parse_json(starter_config(options), "starter.json", JsonComments::allow);
      RunConfig config = RunConfig::from_json(json, "starter.json");
      EXPECT_EQ(config.method->type, method);
      EXPECT_EQ(config.task.name, task);
      config.train.num_threads = 1;
      config.task.max_length = std::min<int64_t>(config.task.max_length, 128);  // the model has few positions
      EXPECT_THAT(dry_run(config), HasSubstr(method + ": ")) << method << " on " << task;
    }
  }
}

TEST_F(StarterConfig, DiagnosticSetsAreNotTrainedOn) {
  for (const char* task : {"ax", "axb", "axg"}) {
    EXPECT_THAT(
        [&] {
          starter_config({"lora", task});
        },
        testing::ThrowsMessage<ConfigError>(HasSubstr(std::string(task) + " has no training rows; train on ")));
  }
}

TEST_F(StarterConfig, EveryLineSaysWhy) {
  for (const std::string& method : methods().names()) {
    std::istringstream text(starter_config({method, "rte"}));
    for (std::string line; std::getline(text, line);) {
      EXPECT_EQ(line.starts_with("    \""), line.find("  // ") != std::string::npos && !line.starts_with("  \""))
          << line;
    }
  }
}

TEST_F(StarterConfig, UnknownNamesAreErrors) {
  EXPECT_THROW(starter_config({"lroa", "rte"}), ConfigError);
  EXPECT_THROW(starter_config({"lora", "ret"}), ConfigError);
}

}  // namespace
}  // namespace peft
