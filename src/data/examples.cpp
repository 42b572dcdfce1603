#include "peft/data/examples.h"

#include <algorithm>
#include <set>

#include "label_parser.h"
#include "layout.h"
#include "peft/base/error.h"
#include "peft/base/log.h"
#include "row_readers.h"

namespace peft {
namespace {

// Test rows of a benchmark are what a submission holds: none may be left out.
BadRows::Policy policy_of(const ExampleSource& source, bool quiet) {
  const bool submission = source.split == "test" && !source.spec.own_files;
  return {source.data.on_bad_row == "skip" && !submission, source.data.max_bad_fraction, quiet};
}

std::string join_keys(const std::map<std::string, std::string>& table) {
  std::vector<std::string> keys;
  for (const auto& entry : table) keys.push_back(entry.first);
  return join_names(keys);
}

}  // namespace

// Cells of a row to an example. What is wrong is reported, and the answer then is false.
class ExampleReader::Parser {
 public:
  explicit Parser(const ExampleSource& source)
      : plan_(source.spec),
        layout_(layout_of(source, plan_)),
        dump_(source.file.format == FileFormat::glue_tsv),
        parse_label_(source.spec, source.labels, dump_),
        spec_(source.spec),
        split_(source.split) {}

  const Layout& layout() const { return layout_; }

  bool operator()(const Row& row, const RowReader& rows, BadRows& bad, Example& example, bool& has_idx) const {
    example.line = row.line;
    example.texts.clear();
    const std::size_t fields = layout_.texts.size();
    for (std::size_t i = 0; i < fields; ++i)
      if (!read_field(i, row.cells[i], row, rows, bad, example.texts)) return false;
    return read_label(row.cells[fields], row, bad, example) &&
           read_idx(row.cells[fields + 1], row, rows, bad, example, has_idx) &&
           (layout_.group.name.empty() || read_group(row.cells[fields + 2], row, rows, bad, example));
  }

  /// For a column that has the name of the ids and holds something else.
  std::string idx_advice() const {
    if (dump_) return {};
    return fmt::format("; the column {} holds the ids of predictions files: {}", layout_.idx.name,
                       spec_.own_files ? "for none, set data.columns.idx to \"\"" : "rename one that holds no ids");
  }

 private:
  void report_missing(const Column& column, const Row& row, const RowReader& rows, BadRows& bad) const {
    bad.report("missing", row.line, fmt::format("no key {}; the keys are {}", column.name, join_names(rows.names())));
  }

  bool read_text(const Cell& cell, const Column& column, const Row& row, const RowReader& rows, BadRows& bad,
                 std::vector<std::string_view>& texts) const {
    if (cell.kind == Cell::Kind::text || cell.kind == Cell::Kind::field) {
      texts.push_back(cell.text);
      return true;
    }
    if (cell.kind == Cell::Kind::missing)
      report_missing(column, row, rows, bad);
    else
      bad.report("type", row.line, fmt::format("{} is {}, expected a string", column.name, kind_name(cell.kind)));
    return false;
  }

  bool read_list(const Cell& cell, const Column& column, const Row& row, const RowReader& rows, BadRows& bad,
                 std::vector<std::string_view>& texts) const {
    if (cell.kind == Cell::Kind::missing) {
      report_missing(column, row, rows, bad);
      return false;
    }
    const auto members = list_members(cell);
    if (!members || members->empty()) {
      bad.report("type", row.line,
                 fmt::format("{} is {}, expected a list of strings", column.name,
                             members ? "an empty list" : kind_name(cell.kind)));
      return false;
    }
    for (std::size_t i = 0; i < members->size(); ++i)
      if (!read_text((*members)[i], {fmt::format("{}[{}]", column.name, i)}, row, rows, bad, texts)) return false;
    return true;
  }

  bool read_field(std::size_t i, const Cell& cell, const Row& row, const RowReader& rows, BadRows& bad,
                  std::vector<std::string_view>& texts) const {
    const auto& field = plan_.fields()[i];
    const Column& column = layout_.texts[i];
    if (field.count == SequencePlan::Count::list) return read_list(cell, column, row, rows, bad, texts);
    if (!column.required && cell.kind == Cell::Kind::missing) return true;
    if (!read_text(cell, column, row, rows, bad, texts)) return false;
    const auto table = spec_.wordings.find(field.name);
    if (table == spec_.wordings.end()) return true;
    const auto wording = table->second.find(std::string(texts.back()));
    if (wording == table->second.end()) {
      bad.report("field", row.line,
                 fmt::format("{} \"{}\"; expected one of {}", column.name, shortened(texts.back(), longest_quote),
                             join_keys(table->second)));
      return false;
    }
    texts.back() = wording->second;
    return true;
  }

  bool read_label(const Cell& cell, const Row& row, BadRows& bad, Example& example) const {
    ParsedLabel parsed = parse_label_(cell, plan_.sequences(example.texts.size()));
    if (!parsed.kind.empty()) {
      bad.report(parsed.kind, row.line, parsed.problem);
      return false;
    }
    if (is_hidden(parsed.value) && split_ != "test") {
      const bool minus_one = spec_.labels_from_files() && integer_of(cell) == -1;
      bad.report("no_label", row.line,
                 fmt::format("no {}; expected one in every row of {}{}", layout_.label.name, split_,
                             minus_one ? fmt::format(" ({})", minus_one_advice) : ""));
      return false;
    }
    example.target = std::move(parsed.value);
    return true;
  }

  bool read_idx(const Cell& cell, const Row& row, const RowReader& rows, BadRows& bad, Example& example,
                bool& has_idx) const {
    has_idx = cell.kind != Cell::Kind::missing;
    example.idx = row.number;
    if (has_idx) return read_integer(cell, layout_.idx, row, bad, example.idx);
    // A benchmark's file without header has no idx column; every other file was asked for it.
    if (!layout_.idx.required || !layout_.format.headerless.empty()) return true;
    report_missing(layout_.idx, row, rows, bad);
    return false;
  }

  bool read_group(const Cell& cell, const Row& row, const RowReader& rows, BadRows& bad, Example& example) const {
    if (cell.kind != Cell::Kind::missing) return read_integer(cell, layout_.group, row, bad, example.group.emplace());
    report_missing(layout_.group, row, rows, bad);
    return false;
  }

  bool read_integer(const Cell& cell, const Column& column, const Row& row, BadRows& bad, int64_t& value) const {
    if (const auto number = integer_of(cell)) {
      value = *number;
      return true;
    }
    const std::string found = cell.kind == Cell::Kind::field
                                  ? fmt::format("\"{}\"", shortened(cell.text, longest_quote))
                                  : std::string(kind_name(cell.kind));
    bad.report("type", row.line,
               fmt::format("{} is {}, expected an integer{}", column.name, found,
                           &column == &layout_.idx ? idx_advice() : ""));
    return false;
  }

  SequencePlan plan_;
  Layout layout_;
  bool dump_;  // the benchmark's own files
  LabelParser parse_label_;
  const TaskSpec& spec_;
  std::string split_;
};

ExampleReader::ExampleReader(const ExampleSource& source, bool quiet)
    : bad_(source.file.name(), policy_of(source, quiet)) {
  parser_ = std::make_unique<Parser>(source);
  rows_ = open_rows(source.file.path, parser_->layout().format, parser_->layout().columns(), bad_);
  check_class_names(source, quiet);
}

ExampleReader::~ExampleReader() = default;

bool ExampleReader::next(Example& example) {
  while (rows_->next(row_)) {
    bool has_idx = false;
    if (!(*parser_)(row_, *rows_, bad_, example, has_idx)) continue;
    ++good_;
    if (has_idx) idx_lines_.emplace_back(example.idx, example.line);
    int64_t& first = is_hidden(example.target) ? first_hidden_ : first_visible_;
    if (first == 0) first = example.line;
    return true;
  }
  finish();
  return false;
}

// A file's own names must be those of the task; its labels are read by name, so their order is free.
void ExampleReader::check_class_names(const ExampleSource& source, bool quiet) const {
  const std::vector<std::string> found = rows_->class_names();
  if (found.empty() || found == source.labels) return;
  if (!std::is_permutation(found.begin(), found.end(), source.labels.begin(), source.labels.end()))
    throw_error<DataError>("{}: column {} has the classes {}; expected {}", bad_.file(), parser_->layout().label.name,
                           join_names(found), join_names(source.labels));
  if (!quiet)
    log_info("{}: column {} counts the classes as {}; they are read by name and become {}", bad_.file(),
             parser_->layout().label.name, join_names(found), join_names(source.labels));
}

void ExampleReader::finish() const {
  bad_.finish(rows_->rows());
  if (good_ == 0) throw_error<DataError>("{}: no examples", bad_.file());
  if (first_hidden_ != 0 && first_visible_ != 0)
    throw_error<DataError>("{} no label, but {} has one; expected labels in all examples or in none",
                           bad_.at(first_hidden_), bad_.also_at(first_visible_));
  check_idx_unique();
}

void ExampleReader::check_idx_unique() const {
  auto sorted = idx_lines_;
  std::sort(sorted.begin(), sorted.end());
  for (std::size_t i = 1; i < sorted.size(); ++i)
    if (sorted[i].first == sorted[i - 1].first)
      throw_error<DataError>("{} {} {} already stands in {}{}", bad_.at(sorted[i].second), parser_->layout().idx.name,
                             sorted[i].first, bad_.also_at(sorted[i - 1].second), parser_->idx_advice());
}

namespace {

/// -1 and 1 alone are the two classes of many a file. Beside other labels -1 may be a class or a missing label, and so it may where rows
/// without label are to be skipped: a guess would lose a class or invent one.
void settle_minus_one(const std::set<std::string>& names, const ExampleSource& train) {
  const auto means = [](const std::string& name, int64_t value) { return whole_number(name) == value; };
  if (std::none_of(names.begin(), names.end(), [&](const auto& name) { return means(name, -1); })) return;
  const bool two = train.spec.target == TargetKind::class_id && names.size() == 2 &&
                   std::any_of(names.begin(), names.end(), [&](const auto& name) { return means(name, 1); });
  if (two && train.data.on_bad_row != "skip") return;
  throw_error<DataError>(
      "{}: rows have the label -1 (labels found: {}); list it in data.labels where it is a class; without it in that "
      "list a row with -1 has no label",
      train.file.path.string(), join_names({names.begin(), names.end()}));
}

/// 1, 1.0 and +1 are one class. A file that spells it in several ways calls it 1.
void join_spellings(std::set<std::string>& names) {
  std::map<int64_t, std::vector<std::string>> spellings;
  for (const std::string& name : names)
    if (const auto value = whole_number(name)) spellings[*value].push_back(name);
  for (const auto& [value, several] : spellings) {
    if (several.size() == 1) continue;
    for (const std::string& name : several) names.erase(name);
    names.insert(std::to_string(value));
  }
}

}  // namespace

std::vector<std::string> infer_labels(const ExampleSource& train) {
  const Layout layout = layout_of(train, SequencePlan(train.spec));
  BadRows bad(train.file.path.string(), policy_of(train, /*quiet=*/true));
  const auto rows = open_rows(train.file.path, layout.format, {layout.label}, bad);
  if (auto named = rows->class_names(); !named.empty()) return named;
  std::set<std::string> names;
  const auto add = [&](const Cell& cell) {
    std::string problem;
    std::string name = label_name(cell, problem);
    if (!name.empty()) names.insert(std::move(name));  // else hidden or bad: reported when the examples are read
  };
  Row row;
  while (rows->next(row)) {
    if (train.spec.target != TargetKind::classes) {
      add(row.cells[0]);
    } else if (const auto members = list_members(row.cells[0])) {
      for (const Cell& member : *members) add(member);
    }
  }
  if (rows->rows() == 0) throw_error<DataError>("{}: no examples", bad.file());
  join_spellings(names);
  settle_minus_one(names, train);
  std::vector<std::string> labels(names.begin(), names.end());
  if (std::all_of(labels.begin(), labels.end(), [](const auto& label) { return whole_number(label).has_value(); }))
    std::stable_sort(labels.begin(), labels.end(),
                     [](const auto& a, const auto& b) { return *whole_number(a) < *whole_number(b); });
  return labels;
}

}  // namespace peft
