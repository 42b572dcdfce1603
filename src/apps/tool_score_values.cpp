#include "src/apps/tool_score_values.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <functional>
#include <optional>
#include <stdexcept>

#include "peft/data/lines.h"
#include "peft/data/rows.h"

namespace peft {
namespace {

constexpr std::array kAnswers{"prediction", "label", "labels", "tags", "answer", "score", "choice"};
constexpr std::array kIds{"id", "idx", "index"};

/// Calls `take` with the text and the value of every line; an empty line at the very end is none.
void for_lines(const std::string& file,
               const std::function<void(int64_t line, std::string_view text, Json value)>& take) {
  LineReader reader(file);
  bool any = false;
  while (reader.next()) {
    const std::string where = fmt::format("{}:{}", file, reader.line());
    if (reader.too_long()) throw_error<DataError>("{}: longer than {} bytes", where, default_max_line_bytes);
    if (const auto why = encoding_problem(reader.text())) throw_error<DataError>("{}: {}", where, *why);
    const std::string text(reader.text());
    if (text.empty() && reader.at_end()) break;
    Json value;
    try {
      value = parse_json(text, where);
    } catch (const std::invalid_argument& error) {
      throw DataError(error.what());
    }
    take(reader.line(), text, std::move(value));
    any = true;
  }
  if (!any) throw_error<DataError>("{}: no lines", file);
}

void add(Values& values, int64_t line, Json value, Json id = {}) {
  values.rows.push_back(std::move(value));
  values.lines.push_back(line);
  values.ids.push_back(std::move(id));
}

Json id_of(const Json& row) {
  for (const char* key : kIds)
    if (const auto found = row.find(key); found != row.end()) return *found;
  return {};
}

std::vector<std::string> keys_of(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& item : object.items()) keys.push_back(item.key());
  return keys;
}

/// The answers of one adapter in a row of peft-predict, or the row itself.
const Json& answers_of(const Json& row, const std::string& adapter, const std::string& where) {
  const auto all = row.find("adapters");
  if (all == row.end() || !all->is_object()) {
    if (!adapter.empty())
      throw_error<ConfigError>("--adapter {}: {}: the row holds the answers of one adapter without a name", adapter,
                               where);
    return row;
  }
  if (const auto found = all->find(adapter); found != all->end()) return *found;
  throw_error<ConfigError>("--adapter {}: {}: the row holds the answers of {}", adapter.empty() ? "NAME" : adapter,
                           where, fmt::join(keys_of(*all), ", "));
}

/// Names of the classes in id order, as peft-predict writes them: this project's JSON sorts its keys.
std::vector<std::string> names_in(std::string_view text, const std::string& adapter) {
  const auto row = nlohmann::ordered_json::parse(text);
  const auto answers = adapter.empty() ? row : row.at("adapters").at(adapter);
  std::vector<std::string> names;
  const auto found = answers.find("probabilities");
  if (found != answers.end() && found->is_object())
    for (const auto& item : found->items()) names.push_back(item.key());
  return names;
}

Json cell_value(const Cell& cell) {
  if (cell.kind == Cell::Kind::missing) return {};
  return Json(cell.text);
}

Values read_cells(const std::string& file, FileFormat format, const std::string& column) {
  Values values{.file = file, .rows = {}, .cells = true};
  BadRows bad(file, {});
  RowFormat rows;
  rows.file = format;
  rows.delimiter = format == FileFormat::csv ? ',' : '\t';
  rows.quoting = format == FileFormat::csv;
  std::vector<Column> columns{{column}};
  for (const char* id : kIds) columns.push_back({id, false});
  const auto reader = open_rows(file, rows, columns, bad);
  for (Row row; reader->next(row);) {
    Json id;
    for (std::size_t i = columns.size(); i-- > 1;)
      if (Json value = cell_value(row.cells[i]); !value.is_null()) id = std::move(value);
    add(values, row.line, cell_value(row.cells[0]), std::move(id));
  }
  if (values.rows.empty()) throw_error<DataError>("{}: no rows", file);
  return values;
}

template <class Number>
std::optional<Number> parsed(const Json& value) {
  const auto& text = value.get_ref<const std::string&>();
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

Json split_list(const std::string& text) {
  Json list = Json::array();
  for (std::size_t begin = 0; !text.empty() && begin <= text.size();) {
    const std::size_t end = std::min(text.find('|', begin), text.size());
    list.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return list;
}

/// A class id as the name that predictions use; names and other values stay.
Json named(const Json& value, const std::vector<std::string>& names) {
  std::optional<int64_t> id;
  if (value.is_number_integer()) id = value.get<int64_t>();
  if (value.is_string() && std::find(names.begin(), names.end(), value.get_ref<const std::string&>()) == names.end())
    id = parsed<int64_t>(value);
  if (value.is_number_integer() && std::find(names.begin(), names.end(), std::to_string(*id)) != names.end())
    return std::to_string(*id);
  if (!id || *id < 0 || *id >= static_cast<int64_t>(names.size())) return value;
  return names[static_cast<std::size_t>(*id)];
}

}  // namespace

std::string id_text(const Json& id) { return id.is_string() ? id.get<std::string>() : id.dump(); }

PredictedValues read_predictions(const std::string& file, const std::string& adapter) {
  PredictedValues read;
  read.predictions.file = read.references.file = read.groups.file = read.parts.file = file;
  for_lines(file, [&](int64_t line, std::string_view text, Json row) {
    if (!row.is_object()) return add(read.predictions, line, std::move(row));
    const std::string where = fmt::format("{}:{}", file, line);
    const Json& answers = answers_of(row, adapter, where);
    const auto key = std::find_if(kAnswers.begin(), kAnswers.end(),
                                  [&](const char* name) { return answers.is_object() && answers.contains(name); });
    if (key == kAnswers.end())
      throw_error<DataError>("{}: the keys are {}; expected one of {}", where, fmt::join(keys_of(answers), ", "),
                             fmt::join(kAnswers, ", "));
    if (read.predictions.rows.empty() || read.names.empty()) read.names = names_in(text, adapter);
    add(read.predictions, line, answers.at(*key), id_of(row));
    if (row.contains("reference")) add(read.references, line, row["reference"]);
    if (row.contains("group")) add(read.groups, line, row["group"]);
    if (row.contains("part")) add(read.parts, line, row["part"]);
  });
  return read;
}

Values read_references(const std::string& file, const std::string& column) {
  if (file.ends_with(".csv")) return read_cells(file, FileFormat::csv, column);
  if (file.ends_with(".tsv")) return read_cells(file, FileFormat::tsv, column);
  Values values{.file = file, .rows = {}};
  for_lines(file, [&](int64_t line, std::string_view, Json row) {
    if (!row.is_object()) return add(values, line, std::move(row));
    if (!row.contains(column))
      throw_error<DataError>("{}:{}: no {}; the keys are {}", file, line, column, fmt::join(keys_of(row), ", "));
    add(values, line, row[column], id_of(row));
  });
  return values;
}

Values read_values(const std::string& file) {
  Values values{.file = file, .rows = {}};
  for_lines(file, [&](int64_t line, std::string_view, Json value) { add(values, line, std::move(value)); });
  return values;
}

void match_references(const PredictedValues& predicted, Metric::Input input, Values& references) {
  const Values& predictions = predicted.predictions;
  if (predictions.rows.size() != references.rows.size())
    throw_error<DataError>("{}: {} lines, expected {} as in {}", predictions.file, predictions.rows.size(),
                           references.rows.size(), references.file);
  const auto is = [&](auto kind) { return std::any_of(predictions.rows.begin(), predictions.rows.end(), kind); };
  const bool numbers = input == Metric::Input::numbers;
  const bool lists = is([](const Json& value) { return value.is_array(); });
  const bool ids = is([](const Json& value) { return value.is_number(); });
  for (std::size_t row = 0; row < references.rows.size(); ++row) {
    const Json &id = references.ids[row], &expected = predictions.ids[row];
    if (!id.is_null() && !expected.is_null() && id_text(id) != id_text(expected))
      references.fail(row, "id {}, expected {} as in {}:{}", id.dump(), expected.dump(), predictions.file,
                      predictions.lines[row]);
    if (input == Metric::Input::texts) continue;
    Json& value = references.rows[row];
    if (references.cells && numbers) {
      const auto number = parsed<double>(value);
      if (!number || !std::isfinite(*number)) references.fail(row, "{}; expected a number", value.dump());
      value = *number;
    } else if (references.cells && lists) {
      value = split_list(value.get_ref<const std::string&>());
    } else if (references.cells && ids) {
      const auto number = parsed<int64_t>(value);
      if (!number) references.fail(row, "{}; expected a class id, as in {}", value.dump(), predictions.file);
      value = *number;
    }
    if (numbers || predicted.names.empty()) continue;
    if (!value.is_array()) {
      value = named(value, predicted.names);
      continue;
    }
    for (Json& member : value) member = named(member, predicted.names);
  }
}

}  // namespace peft
