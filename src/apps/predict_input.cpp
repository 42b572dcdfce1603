#include "src/apps/predict_input.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "peft/base/error.h"
#include "peft/base/json.h"
#include "peft/data/lines.h"

namespace peft {
namespace {

constexpr std::array kIdColumns{"id", "idx", "index"};  // the first columns; the first one present counts

std::string shown(const std::string& file) { return file == kStandardInput ? "stdin" : file; }

/// 17, but not 017 or -0, which would not come back as they were.
bool is_plain_integer(std::string_view text) {
  const bool negative = text.starts_with('-');
  const std::string_view digits = text.substr(negative ? 1 : 0);
  return !digits.empty() && digits.size() < 19 &&
         std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; }) &&
         (digits.front() != '0' || text == "0");
}

std::vector<Column> columns_of(const std::vector<Reading>& readings) {
  std::vector<Column> columns;
  const auto add = [&](const std::string& name) {
    if (std::none_of(columns.begin(), columns.end(), [&](const Column& c) { return c.name == name; }))
      columns.push_back({name, false});
  };
  for (const char* name : kIdColumns) add(name);
  for (const Reading& reading : readings)
    for (const std::string& name : reading.texts.columns()) add(name);
  return columns;
}

}  // namespace

PredictInput::PredictInput(const std::string& file, const RowFormat& format, std::vector<Reading>& readings)
    : file_(shown(file)),
      readings_(readings),
      columns_(columns_of(readings)),
      bad_(file_, {}),
      rows_(open_rows(file, format, columns_, bad_)) {
  for (Reading& reading : readings_) reading.texts.bind(columns_);
  check_columns(format.file);
}

void PredictInput::check_columns(FileFormat format) const {
  const bool header = format == FileFormat::csv || format == FileFormat::tsv || !is_text(format);
  for (const Reading& reading : readings_) {
    if (header && !reading.texts.found_in(rows_->names())) {
      std::string names;
      for (const std::string& name : rows_->names()) names += (names.empty() ? "" : ", ") + name.substr(0, 40);
      throw_error<DataError>("{}: {} {}; expected {}", is_text(format) ? file_ + ":1" : file_,
                             is_text(format) ? "header" : "columns", names, reading.texts.wanted());
    }
    if (format == FileFormat::lines && !reading.texts.one_text())
      throw_error<ConfigError>("--format lines: the task needs more than one text ({}); use jsonl, csv or tsv",
                               reading.texts.wanted());
  }
}

bool PredictInput::next(int64_t count, std::vector<std::string>& ids) {
  ids.clear();
  for (Reading& reading : readings_) reading.split = EncodedSplit();
  Row row;
  while (!ended_ && static_cast<int64_t>(ids.size()) < count) {
    if (!rows_->next(row)) {
      ended_ = true;
      break;
    }
    ids.push_back(id_of(row));
    for (Reading& reading : readings_)
      if (!reading.texts.encode(row, *rows_, bad_, *reading.tokenizer, reading.lengths, reading.split)) ++reading.cut;
  }
  for (Reading& reading : readings_) reading.split.hidden = true;
  if (ended_ && rows_->rows() == 0) throw_error<DataError>("{}: no rows", file_);
  return !ids.empty();
}

std::string PredictInput::id_of(const Row& row) const {
  for (std::size_t i = 0; i < kIdColumns.size(); ++i) {
    const Cell& cell = row.cells[i];
    if (cell.kind == Cell::Kind::missing) continue;
    if (cell.kind == Cell::Kind::integer) return std::to_string(cell.integer);
    if (cell.kind == Cell::Kind::field && is_plain_integer(cell.text)) return std::string(cell.text);
    if (cell.kind == Cell::Kind::text || cell.kind == Cell::Kind::field) return Json(cell.text).dump();
    throw_error<DataError>("{} {} is {}, expected a string or an integer", bad_.at(row.line), kIdColumns[i],
                           kind_name(cell.kind));
  }
  return std::to_string(row.number);
}

int64_t count_lines(const std::string& file) {
  std::error_code failed;
  if (file == kStandardInput || !std::filesystem::is_regular_file(file, failed)) return 0;
  LineReader lines(file);
  while (lines.next()) {
  }
  return lines.line();
}

}  // namespace peft
