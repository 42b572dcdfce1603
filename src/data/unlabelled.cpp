#include "peft/data/unlabelled.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "label_parser.h"
#include "layout.h"
#include "peft/base/error.h"
#include "row_readers.h"

namespace peft {

using Count = SequencePlan::Count;

TaskTexts::TaskTexts(const TaskSpec& spec, const ColumnsConfig& columns)
    : spec_(spec), plan_(std::make_unique<SequencePlan>(spec)) {
  const auto& fields = plan_->fields();
  const bool pair = fields.size() <= 2 && fields.back().count != Count::list;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    Field field;
    field.required = fields[i].count != Count::optional;
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
  return plan_->fields().front().count != Count::list &&
         std::none_of(fields_.begin() + 1, fields_.end(), [](const Field& field) { return field.required; });
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

void TaskTexts::read_field(std::size_t number, const Row& row, const RowReader& rows, const std::string& where,
                           std::vector<std::string_view>& texts) const {
  const Field& field = fields_[number];
  const auto& [name, count] = plan_->fields()[number];
  const auto at = std::find_if(field.cells.begin(), field.cells.end(),
                               [&](std::size_t cell) { return row.cells[cell].kind != Cell::Kind::missing; });
  if (at == field.cells.end()) {
    if (!field.required) return;
    throw_error<DataError>("{} no {}; the keys are {}", where, field.columns.front(), join_names(rows.names()));
  }
  const Cell& cell = row.cells[*at];
  const std::string& column = field.columns[static_cast<std::size_t>(at - field.cells.begin())];
  if (!field.required && cell.kind == Cell::Kind::null) return;
  const auto add = [&](const Cell& text, const std::string& what) {
    if (text.kind != Cell::Kind::text && text.kind != Cell::Kind::field)
      throw_error<DataError>("{} {} is {}, expected a string", where, what, kind_name(text.kind));
    texts.push_back(text.text);
  };
  if (count == Count::list) {
    const auto members = list_members(cell);
    if (!members || members->empty())
      throw_error<DataError>("{} {} is {}, expected a list of strings", where, column,
                             members ? "an empty list" : kind_name(cell.kind));
    for (std::size_t i = 0; i < members->size(); ++i) add((*members)[i], fmt::format("{}[{}]", column, i));
    return;
  }
  add(cell, column);
  const auto table = spec_.wordings.find(name);
  if (table == spec_.wordings.end()) return;
  const auto wording = table->second.find(std::string(texts.back()));
  if (wording == table->second.end()) {
    std::vector<std::string> known;
    for (const auto& [spelling, words] : table->second) known.push_back(spelling);
    throw_error<DataError>("{} {} \"{}\"; expected one of {}", where, column, shortened(texts.back(), longest_quote),
                           join_names(known));
  }
  texts.back() = wording->second;
}

bool TaskTexts::encode(const Row& row, const RowReader& rows, const BadRows& bad, const Tokenizer& tokenizer,
                       int64_t max_length, EncodedSplit& split) const {
  const std::string where = bad.at(row.line);
  std::vector<std::string_view> texts;
  for (std::size_t i = 0; i < fields_.size(); ++i) read_field(i, row, rows, where, texts);
  int64_t lost = 0;
  std::string text, pair;
  for (int64_t s = 0; s < plan_->sequences(texts.size()); ++s) {
    text.clear();
    pair.clear();
    plan_->write(texts, s, SequencePlan::Side::text, text);
    const bool has_pair = plan_->write(texts, s, SequencePlan::Side::text_pair, pair);
    const Encoding encoding = tokenizer.encode(text, has_pair ? std::optional<std::string_view>(pair) : std::nullopt,
                                               {.max_length = max_length, .truncation = spec_.truncation});
    if (encoding.ids.empty()) throw_error<DataError>("{} the text has no token", where);
    lost += encoding.lost_tokens;
    split.add_sequence(encoding.ids, encoding.types);
  }
  split.end_example({}, row.number);
  return lost == 0;
}

}  // namespace peft
