#include "peft/data/unlabelled.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "layout.h"
#include "peft/base/error.h"
#include "row_readers.h"
#include "tagged_words.h"
#include "windows.h"

namespace peft {

TaskTexts::TaskTexts(const TaskSpec& spec, const ColumnsConfig& columns)
    : spec_(spec), task_fields_(std::make_unique<TaskFields>(spec)) {
  const auto& fields = task_fields_->inputs();
  const bool pair = spec.derive == nullptr && fields.size() <= 2 && fields.back().kind != RecordInput::Kind::texts;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    Field field;
    field.required = TaskFields::required(fields[i]);
    const auto add = [&](const std::string& name) {
      if (std::find(field.columns.begin(), field.columns.end(), name) == field.columns.end())
        field.columns.push_back(name);
    };
    if (const auto* name = column_setting(columns, fields[i].name); spec.own_files && name != nullptr && *name) {
      add(**name);
      field.required = true;
    }
    add(fields[i].name);
    if (i < spec.dump.texts.size()) add(spec.dump.texts[i]);
    if (pair) add(i == 0 ? "text" : "text_pair");
    fields_.push_back(std::move(field));
  }
}

TaskTexts::~TaskTexts() = default;
TaskTexts::TaskTexts(TaskTexts&&) noexcept = default;

std::vector<std::string> TaskTexts::columns() const {
  std::vector<std::string> all;
  for (const Field& field : fields_) all.insert(all.end(), field.columns.begin(), field.columns.end());
  return all;
}

bool TaskTexts::one_text() const {
  const auto& inputs = task_fields_->inputs();
  const auto needed = std::count_if(fields_.begin(), fields_.end(), [](const Field& field) { return field.required; });
  return needed == 0 || (needed == 1 && inputs.front().kind == RecordInput::Kind::text && fields_.front().required);
}

std::string TaskTexts::wanted() const {
  std::vector<std::string> names;
  for (const Field& field : fields_) {
    if (!field.required) continue;
    const std::vector<std::string> others(field.columns.begin() + 1, field.columns.end());
    names.push_back(others.empty() ? field.columns.front()
                                   : fmt::format("{} (or {})", field.columns.front(), fmt::join(others, ", ")));
  }
  return join_names(names);
}

void TaskTexts::bind(const std::vector<Column>& opened) {
  for (Field& field : fields_) {
    field.cells.clear();
    for (const std::string& name : field.columns) {
      const auto at = std::find_if(opened.begin(), opened.end(), [&](const Column& c) { return c.name == name; });
      field.cells.push_back(static_cast<std::size_t>(at - opened.begin()));
    }
  }
}

bool TaskTexts::found_in(const std::vector<std::string>& names) const {
  const auto found = [&](const std::string& column) {
    return std::find(names.begin(), names.end(), column) != names.end();
  };
  return std::all_of(fields_.begin(), fields_.end(), [&](const Field& field) {
    return !field.required || std::any_of(field.columns.begin(), field.columns.end(), found);
  });
}

/// The cell of a field, and its column: the first that is there.
InputCell TaskTexts::find_cell(const Field& field, const Row& row, const RowReader& rows) const {
  static const Cell absent;
  const auto at = std::find_if(field.cells.begin(), field.cells.end(),
                               [&](std::size_t cell) { return row.cells[cell].kind != Cell::Kind::missing; });
  if (at == field.cells.end()) {
    if (!field.required) return {&absent, field.columns.front()};
    throw BadRecord{"missing", fmt::format("no {}; the keys are {}", field.columns.front(), join_names(rows.names()))};
  }
  const Cell& cell = row.cells[*at];
  const bool left_out = !field.required && cell.kind == Cell::Kind::null;
  return {left_out ? &absent : &cell, field.columns[static_cast<std::size_t>(at - field.cells.begin())]};
}

int64_t TaskTexts::encode_sequences(const RecordTexts& record, const Tokenizer& tokenizer, const TaskConfig& lengths,
                                    EncodedSplit& split) const {
  const SequencePlan& plan = task_fields_->plan();
  const bool tags = spec_.target == TargetKind::tags;
  int64_t lost = 0;
  std::string text, pair;
  for (int64_t s = 0; s < plan.sequences(record.texts.size()); ++s) {
    text.clear();
    pair.clear();
    plan.write(record.texts, s, SequencePlan::Side::text, text);
    const bool has_pair = plan.write(record.texts, s, SequencePlan::Side::text_pair, pair);
    if (spec_.target == TargetKind::span) {
      for (const Encoding& window : WindowEncoder(tokenizer, lengths.max_length, lengths.doc_stride)(text, pair)) {
        split.add_sequence(window.ids, window.types);
        split.text_spans.insert(split.text_spans.end(), window.offsets.begin(), window.offsets.end());
      }
      continue;
    }
    const Encoding encoding =
        tokenizer.encode(text, has_pair ? std::optional<std::string_view>(pair) : std::nullopt,
                         {.max_length = lengths.max_length, .truncation = spec_.truncation, .offsets = tags});
    if (encoding.ids.empty()) throw DataError("the text has no token");
    lost += encoding.lost_tokens;
    split.add_sequence(encoding.ids, encoding.types);
    if (tags) split.add_words(first_tokens(record.derived.words, encoding.offsets));
  }
  return lost;
}

bool TaskTexts::encode(const Row& row, const RowReader& rows, const BadRows& bad, const Tokenizer& tokenizer,
                       const TaskConfig& lengths, EncodedSplit& split) const {
  split.target_kind = spec_.target;
  split.may_lack_answer = spec_.may_lack_answer;
  RecordTexts record;
  int64_t lost = 0;
  try {
    std::vector<InputCell> cells;
    for (const Field& field : fields_) cells.push_back(find_cell(field, row, rows));
    task_fields_->read(cells, record);
    lost = encode_sequences(record, tokenizer, lengths, split);
  } catch (const BadRecord& problem) {
    throw_error<DataError>("{} {}", bad.at(row.line), problem.message);
  } catch (const DataError& problem) {
    throw_error<DataError>("{} {}", bad.at(row.line), problem.what());
  }
  split.candidates.insert(split.candidates.end(), record.candidates.begin(), record.candidates.end());
  if (spec_.target == TargetKind::tags || spec_.target == TargetKind::span) {
    split.texts.emplace_back(record.texts.back());
    split.word_spans.insert(split.word_spans.end(), record.derived.words.begin(), record.derived.words.end());
  }
  split.end_example({}, row.number);
  return lost == 0;
}

}  // namespace peft
