#include "layout.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "peft/base/error.h"

namespace peft {
namespace {

const std::vector<std::string>& dump_columns(const TaskSpec::Dump& dump, const std::string& split) {
  if (split == "test") return dump.test_columns;
  return split == "dev" && !dump.dev_columns.empty() ? dump.dev_columns : dump.train_columns;
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Whether a test file looks like those of dev: it has the labels then, and no ids.
bool is_like_dev(const std::filesystem::path& file, const TaskSpec::Dump& dump) {
  constexpr std::size_t longest_header = 4096;
  constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
  if (dump.headerless || contains(dump.test_columns, dump.label)) return false;
  std::string header(longest_header, '\0');
  std::ifstream stream(file, std::ios::binary);
  stream.read(header.data(), static_cast<std::streamsize>(header.size()));
  header.resize(std::min(static_cast<std::size_t>(stream.gcount()), header.find_first_of("\r\n")));
  if (header.starts_with(byte_order_mark)) header.erase(0, byte_order_mark.size());
  std::istringstream fields(header);
  for (std::string name; std::getline(fields, name, '\t');)
    if (name == dump.label) return true;
  return false;
}

Layout dump_layout(const ExampleSource& source) {
  const auto& dump = source.spec.dump;
  const bool test = source.split == "test" && !is_like_dev(source.file.path, dump);
  const auto& columns = dump_columns(dump, source.split == "test" && !test ? "dev" : source.split);
  Layout layout;
  for (const auto& name : dump.texts) layout.texts.push_back({name});
  layout.label = {dump.label, !test};
  if (contains(columns, dump.idx)) layout.idx = {dump.idx, test};
  layout.format.expected = columns;
  if (dump.headerless) {
    layout.format.headerless = dump.train_columns;
    layout.format.header_allowed = test || dump.header_optional;
  }
  return layout;
}

constexpr const char *conll_words = "0", *conll_tags = "-1";  // columns of CoNLL files where data.columns names none

Layout own_layout(const ExampleSource& source, const TaskFields& fields) {
  const ColumnsConfig& names = source.data.columns;
  Layout layout;
  for (const RecordInput& input : fields.inputs()) {
    const auto* name = column_setting(names, input.name);
    const bool named = name != nullptr && name->has_value();
    layout.texts.push_back({named ? **name : input.name, named || TaskFields::required(input)});
  }
  layout.label = {names.label.value_or(source.spec.label), source.split != "test"};
  const std::string idx = names.idx.value_or(source.spec.idx);
  if (source.file.format == FileFormat::conll) {
    for (Column& column : layout.texts)
      if (column.name == "tokens") column.name = conll_words;
    if (!names.label) layout.label.name = conll_tags;
  }
  layout.idx = {idx, names.idx.has_value() && !idx.empty()};
  layout.format.flatten = source.spec.dump.flatten;
  return layout;
}

// The datasets library's columns in csv, tsv and jsonl files of a benchmark task; of a dump in JSON Lines the same.
Layout plain_layout(const ExampleSource& source, const TaskFields& fields) {
  const TaskSpec& spec = source.spec;
  Layout layout;
  for (const RecordInput& input : fields.inputs()) layout.texts.push_back({input.name, TaskFields::required(input)});
  layout.label = {spec.label, source.split != "test"};
  layout.idx = {spec.idx, false};
  for (const std::string& column : spec.outer_idx) layout.outer_idx.push_back({column, false});
  layout.format.flatten = spec.dump.flatten;
  return layout;
}

std::vector<Cell::Kind> kinds_of(RecordInput::Kind kind) {
  switch (kind) {
    case RecordInput::Kind::text:
    case RecordInput::Kind::optional_text:
      return {Cell::Kind::text};
    case RecordInput::Kind::texts:
    case RecordInput::Kind::any_texts:
    case RecordInput::Kind::optional_texts:
    case RecordInput::Kind::optional_numbers:
      return {Cell::Kind::array};
    case RecordInput::Kind::number:
    case RecordInput::Kind::optional_number:
      return {Cell::Kind::integer, Cell::Kind::real};
  }
  return {};
}

// What columns with types must hold. Numbers of choices and lists are looked at row by row besides.
void set_kinds(Layout& layout, const TaskSpec& spec, const TaskFields& fields) {
  using Kind = Cell::Kind;
  for (std::size_t i = 0; i < layout.texts.size(); ++i) layout.texts[i].kinds = kinds_of(fields.inputs()[i].kind);
  layout.label.classes = spec.has_classes();
  switch (spec.target) {
    case TargetKind::class_id:
      layout.label.kinds = {Kind::text, Kind::integer, Kind::real, Kind::boolean};
      break;
    case TargetKind::classes:
    case TargetKind::choices:
    case TargetKind::tags:
    case TargetKind::span:
      layout.label.kinds = {Kind::array};
      break;
    case TargetKind::score:
      layout.label.kinds = {Kind::integer, Kind::real};
      break;
    case TargetKind::choice:
      layout.label.kinds = {Kind::text, Kind::integer, Kind::real};
      break;
    case TargetKind::text:
      layout.label.kinds = {Kind::text};
      break;
  }
}

// Lines `LABEL text`: the text holds spaces.
void read_labelled_lines(RowFormat& format) {
  format.delimiter = ' ';
  format.quoting = false;
  format.headerless = {"label", "text"};
  format.fields = format.headerless.size();
}

}  // namespace

std::vector<Column> Layout::columns() const {
  std::vector<Column> all = texts;
  all.insert(all.end(), {label, idx, group});
  all.insert(all.end(), outer_idx.begin(), outer_idx.end());
  return all;
}

const std::optional<std::string>* column_setting(const ColumnsConfig& columns, std::string_view field) {
  if (field == "text") return &columns.text;
  if (field == "text_pair") return &columns.text_pair;
  if (field == "choices") return &columns.choices;
  if (field == "tokens") return &columns.tokens;
  return nullptr;
}

Layout layout_of(const ExampleSource& source, const TaskFields& fields) {
  const FileFormat format = source.file.format;
  const TaskSpec& spec = source.spec;
  Layout layout = format == FileFormat::glue_tsv ? dump_layout(source)
                  : spec.own_files               ? own_layout(source, fields)
                                                 : plain_layout(source, fields);
  if (!spec.group.empty() && spec.group != spec.idx) layout.group = {spec.group};
  layout.format.file = format;
  layout.format.max_line_bytes = source.data.max_line_bytes;
  layout.format.more_files = source.file.more;
  set_kinds(layout, spec, fields);
  if (format == FileFormat::csv) {
    layout.format.delimiter = source.data.delimiter.at(0);
    layout.format.quoting = true;
    if (spec.dump.csv) {
      layout.format.headerless = spec.dump.train_columns;
      layout.format.header_allowed = true;
    }
  }
  if (format == FileFormat::tsv) layout.format.quoting = source.data.quoting == "csv";
  if (spec.dump.labelled_lines_in(source.file.path)) read_labelled_lines(layout.format);
  return layout;
}

}  // namespace peft
