#include "peft/data/examples.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "label_parser.h"
#include "layout.h"
#include "peft/base/error.h"
#include "peft/base/log.h"
#include "peft/text/words.h"
#include "row_readers.h"

namespace peft {
namespace {

// Test rows of a benchmark are what a submission holds: none may be left out.
BadRows::Policy policy_of(const ExampleSource& source, bool quiet) {
  const bool submission = source.split == "test" && !source.spec.own_files;
  const bool torn = source.spec.torn_rows && source.split == "train";
  const std::string policy = source.data.on_bad_row.value_or(torn ? "skip" : "error");
  return {policy == "skip" && !submission, source.data.max_bad_fraction, quiet};
}

}  // namespace

// Cells of a row to an example. What is wrong is reported, and the answer then is false.
class ExampleReader::Parser {
 public:
  explicit Parser(const ExampleSource& source)
      : fields_(source.spec, source.data.paws_bytes),
        layout_(layout_of(source, fields_)),
        source_(source),
        spec_(source.spec),
        parse_label_(source.spec, source.labels, dump()) {}

  const Layout& layout() const { return layout_; }

  /// To be told what the file looks like: a headerless one of a benchmark spells its labels as the benchmark does.
  void opened(const RowReader& rows) {
    if (spec_.dump.csv && !spec_.dump.labelled_lines_in(source_.file.path))
      parse_label_ = LabelParser(spec_, source_.labels, !rows.has_header());
  }

  bool operator()(const Row& row, const RowReader& rows, BadRows& bad, Example& example, bool& has_idx) {
    try {
      read(row, rows, example, has_idx);
    } catch (const BadRecord& problem) {
      if (problem.kind == no_gold_kind) {
        bad.pass_over(problem.kind);
      } else {
        bad.report(problem.kind, row.line, problem.message);
      }
      return false;
    }
    for (const std::string& kind : record_.derived.odd) bad.count(kind);
    return true;
  }

  /// For a column that has the name of the ids and holds something else.
  std::string idx_advice() const {
    if (dump()) return {};
    return fmt::format("; the column {} holds the ids of predictions files: {}", layout_.idx.name,
                       spec_.own_files ? "for none, set data.columns.idx to \"\"" : "rename one that holds no ids");
  }

 private:
  static constexpr const char* no_gold_kind = "no_gold";

  bool dump() const { return source_.file.format == FileFormat::glue_tsv; }

  void read(const Row& row, const RowReader& rows, Example& example, bool& has_idx) {
    example.line = row.line;
    const std::size_t inputs = layout_.texts.size();
    cells_.clear();
    for (std::size_t i = 0; i < inputs; ++i) {
      if (layout_.texts[i].required) need(row.cells[i], layout_.texts[i], rows);
      cells_.push_back({&row.cells[i], layout_.texts[i].name});
    }
    fields_.read(cells_, record_);
    example.texts = record_.texts;
    example.candidates = record_.candidates;
    example.words = record_.derived.words;
    example.id = record_.derived.id;
    read_label(row.cells[inputs], example);
    read_idx(row, inputs + 1, rows, example, has_idx);
    read_group(row.cells[inputs + 2], rows, example);
  }

  static void need(const Cell& cell, const Column& column, const RowReader& rows) {
    if (cell.kind == Cell::Kind::missing)
      throw BadRecord{"missing", fmt::format("no key {}; the keys are {}", column.name, join_names(rows.names()))};
  }

  void read_label(const Cell& cell, Example& example) {
    if (!spec_.no_gold.empty() && (cell.kind == Cell::Kind::text || cell.kind == Cell::Kind::field) &&
        cell.text == spec_.no_gold)
      throw BadRecord{no_gold_kind, ""};
    const bool answers = spec_.target == TargetKind::choices || spec_.target == TargetKind::span;
    ParsedLabel parsed =
        answers ? parse_label_.choices(cell, example.candidates, example.references)
                : parse_label_(cell, spec_.target == TargetKind::tags ? static_cast<int64_t>(example.words.size())
                                                                      : fields_.plan().sequences(example.texts.size()));
    if (!parsed.kind.empty()) throw BadRecord{std::string(parsed.kind), parsed.problem};
    if (spec_.target == TargetKind::choices && !is_hidden(parsed.value) && example.references.empty()) {
      if (source_.split == "test") {
        parsed.value = {};  // hidden: a list without members stands for them
      } else {
        record_.derived.odd.emplace_back("no_answers");
      }
    }
    if (is_hidden(parsed.value) && source_.split != "test") {
      const bool minus_one = spec_.labels_from_files() && integer_of(cell) == -1;
      throw BadRecord{"no_label", fmt::format("no {}; expected one in every row of {}{}", layout_.label.name,
                                              source_.split, minus_one ? fmt::format(" ({})", minus_one_advice) : "")};
    }
    example.target = std::move(parsed.value);
    if (spec_.target == TargetKind::span && !is_hidden(example.target)) place_answer(example);
  }

  // Where the first answer stands. A question without one is answered by the empty text.
  void place_answer(Example& example) {
    example.answer.reset();
    const auto& starts = record_.derived.answer_starts;
    if (!starts.empty() && starts.size() != example.references.size())
      throw BadRecord{"span", fmt::format("answers.answer_start has {} members, answers.text {}", starts.size(),
                                          example.references.size())};
    if (example.references.empty()) example.references.emplace_back();
    const std::string_view text = example.texts.back(), answer = example.references.front();
    if (answer.empty()) {
      record_.derived.odd.emplace_back("no_answer");
      return;
    }
    const auto length = static_cast<int64_t>(count_code_points(answer));
    if (!starts.empty()) {
      if (code_points(text, starts.front(), starts.front() + length) != answer)
        throw BadRecord{"span", fmt::format("answers.text[0] \"{}\" does not stand at character {} of the context",
                                            shortened(answer, longest_quote), starts.front())};
      example.answer = {static_cast<int32_t>(starts.front()), static_cast<int32_t>(starts.front() + length)};
      return;
    }
    const auto found = text.find(answer);
    if (found == std::string_view::npos) {
      if (source_.split == "train")
        throw BadRecord{"span", fmt::format("answers.text[0] \"{}\" does not stand in the context",
                                            shortened(answer, longest_quote))};
      record_.derived.odd.emplace_back("answer_elsewhere");  // predictions are compared with its words all the same
      return;
    }
    const auto start = static_cast<int64_t>(count_code_points(text.substr(0, found)));
    example.answer = {static_cast<int32_t>(start), static_cast<int32_t>(start + length)};
  }

  void read_idx(const Row& row, std::size_t at, const RowReader& rows, Example& example, bool& has_idx) const {
    const Cell& cell = row.cells[at];
    has_idx = cell.kind != Cell::Kind::missing;
    example.idx = row.number;
    example.outer_idx.clear();
    if (has_idx) {
      const auto number = integer_of(cell);
      example.idx = number ? *number : integer_in({&cell, layout_.idx.name}, idx_advice());
      for (std::size_t i = 0; i < layout_.outer_idx.size(); ++i) {
        const Cell& outer = row.cells[at + 2 + i];
        need(outer, layout_.outer_idx[i], rows);
        example.outer_idx.push_back(integer_in({&outer, layout_.outer_idx[i].name}));
      }
      return;
    }
    // A benchmark's file without header has no idx column; every other file was asked for it.
    if (layout_.idx.required && layout_.format.headerless.empty()) need(cell, layout_.idx, rows);
  }

  void read_group(const Cell& cell, const RowReader& rows, Example& example) const {
    example.group.reset();
    if (spec_.group.empty()) return;
    if (!layout_.group.name.empty()) need(cell, layout_.group, rows);
    const int64_t number = layout_.group.name.empty() ? example.idx : integer_in({&cell, layout_.group.name});
    example.group = number / spec_.group_size;
  }

  TaskFields fields_;
  Layout layout_;
  ExampleSource source_;
  const TaskSpec& spec_;
  LabelParser parse_label_;
  std::vector<InputCell> cells_;
  RecordTexts record_;  // what an example refers to
};

ExampleReader::ExampleReader(const ExampleSource& source, bool quiet)
    : bad_(source.file.name(), policy_of(source, quiet)) {
  parser_ = std::make_unique<Parser>(source);
  rows_ = open_rows(source.file.path, parser_->layout().format, parser_->layout().columns(), bad_);
  parser_->opened(*rows_);
  check_class_names(source, quiet);
}

ExampleReader::~ExampleReader() = default;

bool ExampleReader::next(Example& example) {
  while (rows_->next(row_)) {
    bool has_idx = false;
    if (!(*parser_)(row_, *rows_, bad_, example, has_idx)) continue;
    ++good_;
    if (has_idx) note_idx(example);
    int64_t& first = is_hidden(example.target) ? first_hidden_ : first_visible_;
    if (first == 0) first = example.line;
    return true;
  }
  finish();
  return false;
}

// A file's own names must be those of the task; its labels are read by name, so their order is free.
void ExampleReader::check_class_names(const ExampleSource& source, bool quiet) const {
  std::vector<std::string> found = rows_->class_names();
  for (std::string& name : found)
    if (const auto own = source.spec.synonyms.find(name); own != source.spec.synonyms.end()) name = own->second;
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

void ExampleReader::note_idx(const Example& example) {
  IdxLine& noted = idx_lines_.emplace_back();
  noted.line = example.line;
  if (example.outer_idx.size() + 1 > noted.idx.size()) throw Error("a task has more outer_idx than fit");
  std::copy(example.outer_idx.begin(), example.outer_idx.end(), noted.idx.begin());
  noted.idx.back() = example.idx;
}

void ExampleReader::check_idx_unique() const {
  auto sorted = idx_lines_;
  std::sort(sorted.begin(), sorted.end(),
            [](const IdxLine& a, const IdxLine& b) { return std::tie(a.idx, a.line) < std::tie(b.idx, b.line); });
  for (std::size_t i = 1; i < sorted.size(); ++i)
    if (sorted[i].idx == sorted[i - 1].idx)
      throw_error<DataError>("{} {} {} already stands in {}{}", bad_.at(sorted[i].line), parser_->layout().idx.name,
                             sorted[i].idx.back(), bad_.also_at(sorted[i - 1].line), parser_->idx_advice());
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
  const Layout layout = layout_of(train, TaskFields(train.spec));
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
    if (train.spec.target == TargetKind::class_id) {
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
