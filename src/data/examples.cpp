#include "peft/data/examples.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "label_parser.h"
#include "peft/base/error.h"
#include "row_readers.h"

namespace peft {
namespace {

// Columns of a split in the order text, text_pair, label, idx; a name is empty where the task has no such column.
struct Layout {
  Column text{}, text_pair{"", false}, label{}, idx{"", false};
  RowFormat format{};
};

Layout dump_layout(const ExampleSource& source) {
  const auto& dump = source.spec.dump;
  const bool test = source.split == "test";
  const auto& columns = test ? dump.test_columns : dump.train_columns;
  Layout layout;
  layout.text = {dump.texts.at(0)};
  if (dump.texts.size() > 1) layout.text_pair = {dump.texts.at(1)};
  layout.label = {dump.label, !test};
  if (std::find(columns.begin(), columns.end(), "index") != columns.end()) layout.idx = {"index", test};
  layout.format.expected = columns;
  if (dump.headerless) {
    layout.format.headerless = dump.train_columns;
    layout.format.header_allowed = test;
  }
  return layout;
}

Layout own_layout(const ExampleSource& source) {
  const ColumnsConfig& names = source.data.columns;
  Layout layout;
  layout.text = {names.text.value_or("text")};
  layout.text_pair = {names.text_pair.value_or("text_pair"), names.text_pair.has_value()};
  layout.label = {names.label.value_or("label"), source.split != "test"};
  layout.idx = {names.idx.value_or("idx"), names.idx.has_value()};
  return layout;
}

// The datasets library's columns in csv, tsv and jsonl files of a benchmark task.
Layout plain_layout(const ExampleSource& source) {
  Layout layout;
  layout.text = {source.spec.texts.at(0)};
  if (source.spec.texts.size() > 1) layout.text_pair = {source.spec.texts.at(1)};
  layout.label = {"label", source.split != "test"};
  layout.idx = {"idx", false};
  return layout;
}

Layout layout_of(const ExampleSource& source) {
  const Shape shape = source.file.shape;
  Layout layout = shape == Shape::glue_tsv ? dump_layout(source)
                  : source.spec.own_files  ? own_layout(source)
                                           : plain_layout(source);
  layout.format.shape = shape;
  layout.format.max_line_bytes = source.data.max_line_bytes;
  if (shape == Shape::csv) {
    layout.format.delimiter = source.data.delimiter.at(0);
    layout.format.quoting = true;
  }
  if (shape == Shape::tsv) layout.format.quoting = source.data.quoting == "csv";
  return layout;
}

// Test rows of a benchmark are what a submission holds: none may be left out.
BadRows::Policy policy_of(const ExampleSource& source, bool quiet) {
  const bool submission = source.split == "test" && !source.spec.own_files;
  return {source.data.on_bad_row == "skip" && !submission, source.data.max_bad_fraction, quiet};
}

}  // namespace

// Cells of a row to an example.
struct ExampleReader::Parser {
  Parser(const ExampleSource& source, const Layout& columns)
      : layout(columns),
        parse_label(source.spec, source.labels, source.file.shape == Shape::glue_tsv),
        hidden_allowed(source.split == "test"),
        split(source.split) {}

  // False: reported.
  bool read_text(const Cell& cell, const Column& column, const Row& row, const RowReader& rows, BadRows& bad,
                 std::string_view& text) const {
    if (cell.kind == Cell::Kind::text || cell.kind == Cell::Kind::field) {
      text = cell.text;
      return true;
    }
    if (cell.kind == Cell::Kind::missing)
      bad.report("missing", row.line, fmt::format("no key {}; the keys are {}", column.name, join_names(rows.names())));
    else
      bad.report("type", row.line, fmt::format("{} is {}, expected a string", column.name, kind_name(cell.kind)));
    return false;
  }

  bool operator()(const Row& row, const RowReader& rows, BadRows& bad, Example& example, bool& has_idx) const {
    const Cell &text = row.cells[0], &pair = row.cells[1], &label = row.cells[2], &idx = row.cells[3];
    if (!read_text(text, layout.text, row, rows, bad, example.text)) return false;
    example.text_pair.reset();
    const bool pair_wanted =
        !layout.text_pair.name.empty() && (layout.text_pair.required || pair.kind != Cell::Kind::missing);
    if (pair_wanted) {
      std::string_view second;
      if (!read_text(pair, layout.text_pair, row, rows, bad, second)) return false;
      example.text_pair = second;
    }
    ParsedLabel parsed = parse_label(label);
    if (!parsed.kind.empty()) {
      bad.report(parsed.kind, row.line, parsed.problem);
      return false;
    }
    if (std::isnan(parsed.value) && !hidden_allowed) {
      bad.report("no_label", row.line, fmt::format("no {}; expected one in every row of {}", layout.label.name, split));
      return false;
    }
    example.label = parsed.value;
    has_idx = idx.kind != Cell::Kind::missing;
    example.idx = row.number;
    example.line = row.line;
    // A benchmark's file without header has no idx column; every other file was asked for it.
    if (!has_idx && layout.idx.required && layout.format.headerless.empty()) {
      bad.report("missing", row.line,
                 fmt::format("no key {}; the keys are {}", layout.idx.name, join_names(rows.names())));
      return false;
    }
    if (has_idx) {
      const auto number = integer_of(idx);
      if (!number) {
        const std::string found = idx.kind == Cell::Kind::field ? fmt::format("\"{}\"", shortened(idx.text, 60))
                                                                : std::string(kind_name(idx.kind));
        bad.report("type", row.line, fmt::format("{} is {}, expected an integer", layout.idx.name, found));
        return false;
      }
      example.idx = *number;
    }
    return true;
  }

  Layout layout;
  LabelParser parse_label;
  bool hidden_allowed;
  std::string split;
};

ExampleReader::ExampleReader(const ExampleSource& source, bool quiet)
    : bad_(source.file.path.string(), policy_of(source, quiet)) {
  const Layout layout = layout_of(source);
  const std::vector<Column> columns{layout.text, layout.text_pair, layout.label, layout.idx};
  rows_ = open_rows(source.file.path, layout.format, columns, bad_);
  parser_ = std::make_unique<Parser>(source, layout);
}

ExampleReader::~ExampleReader() = default;

bool ExampleReader::next(Example& example) {
  while (rows_->next(row_)) {
    bool has_idx = false;
    if (!(*parser_)(row_, *rows_, bad_, example, has_idx)) continue;
    ++good_;
    if (has_idx) idx_lines_.emplace_back(example.idx, example.line);
    int64_t& first = std::isnan(example.label) ? first_hidden_ : first_visible_;
    if (first == 0) first = example.line;
    return true;
  }
  finish();
  return false;
}

void ExampleReader::finish() const {
  bad_.finish(rows_->rows());
  if (good_ == 0) throw_error<DataError>("{}: no rows", bad_.file());
  if (first_hidden_ != 0 && first_visible_ != 0)
    throw_error<DataError>("{}:{}: no label, but line {} has one; expected labels in all rows or in none", bad_.file(),
                           first_hidden_, first_visible_);
  check_idx_unique();
}

void ExampleReader::check_idx_unique() const {
  auto sorted = idx_lines_;
  std::sort(sorted.begin(), sorted.end());
  for (std::size_t i = 1; i < sorted.size(); ++i)
    if (sorted[i].first == sorted[i - 1].first)
      throw_error<DataError>("{}:{}: {} {} was given in line {} already", bad_.file(), sorted[i].second,
                             parser_->layout.idx.name, sorted[i].first, sorted[i - 1].second);
}

std::vector<std::string> infer_labels(const ExampleSource& train) {
  const Layout layout = layout_of(train);
  BadRows bad(train.file.path.string(), policy_of(train, /*quiet=*/true));
  const auto rows = open_rows(train.file.path, layout.format, {layout.label}, bad);
  std::set<std::string> names;
  bool integers = true;
  Row row;
  while (rows->next(row)) {
    std::string problem;
    std::string name = label_name(row.cells[0], problem);
    if (name.empty() || name == "-1") continue;  // hidden or bad: reported when the examples are read
    int64_t value = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), value);
    integers = integers && error == std::errc() && end == name.data() + name.size();
    names.insert(std::move(name));
  }
  std::vector<std::string> labels(names.begin(), names.end());
  if (integers)
    std::stable_sort(labels.begin(), labels.end(),
                     [](const auto& a, const auto& b) { return std::stoll(a) < std::stoll(b); });
  return labels;
}

}  // namespace peft
