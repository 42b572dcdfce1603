#include "layout.h"

#include <algorithm>

#include "peft/base/error.h"

namespace peft {
namespace {

using Count = SequencePlan::Count;

Layout dump_layout(const ExampleSource& source) {
  const auto& dump = source.spec.dump;
  const bool test = source.split == "test";
  const auto& columns = test ? dump.test_columns : dump.train_columns;
  Layout layout;
  for (const auto& name : dump.texts) layout.texts.push_back({name});
  layout.label = {dump.label, !test};
  if (std::find(columns.begin(), columns.end(), "index") != columns.end()) layout.idx = {"index", test};
  layout.format.expected = columns;
  if (dump.headerless) {
    layout.format.headerless = dump.train_columns;
    layout.format.header_allowed = test;
  }
  return layout;
}

Layout own_layout(const ExampleSource& source, const SequencePlan& plan) {
  const ColumnsConfig& names = source.data.columns;
  Layout layout;
  for (const auto& field : plan.fields()) {
    const auto* name = column_setting(names, field.name);
    const bool named = name != nullptr && name->has_value();
    layout.texts.push_back({named ? **name : field.name, named || field.count != Count::optional});
  }
  layout.label = {names.label.value_or(source.spec.label), source.split != "test"};
  const std::string idx = names.idx.value_or(source.spec.idx);
  layout.idx = {idx, names.idx.has_value() && !idx.empty()};
  return layout;
}

// The datasets library's columns in csv, tsv and jsonl files of a benchmark task; of a dump in JSON Lines the same.
Layout plain_layout(const ExampleSource& source, const SequencePlan& plan) {
  Layout layout;
  for (const auto& field : plan.fields()) layout.texts.push_back({field.name, field.count != Count::optional});
  layout.label = {source.spec.label, source.split != "test"};
  layout.idx = {source.spec.idx, false};
  return layout;
}

// What columns with types must hold. Numbers of choices and lists are looked at row by row besides.
void set_kinds(Layout& layout, const TaskSpec& spec, const SequencePlan& plan) {
  using Kind = Cell::Kind;
  for (std::size_t i = 0; i < layout.texts.size(); ++i)
    layout.texts[i].kinds = {plan.fields()[i].count == Count::list ? Kind::array : Kind::text};
  layout.label.classes = spec.has_classes();
  switch (spec.target) {
    case TargetKind::class_id:
      layout.label.kinds = {Kind::text, Kind::integer, Kind::real, Kind::boolean};
      break;
    case TargetKind::classes:
      layout.label.kinds = {Kind::array};
      break;
    case TargetKind::score:
    case TargetKind::choice:
      layout.label.kinds = {Kind::integer, Kind::real};
      break;
    case TargetKind::text:
      layout.label.kinds = {Kind::text};
      break;
  }
}

}  // namespace

std::vector<Column> Layout::columns() const {
  std::vector<Column> all = texts;
  all.insert(all.end(), {label, idx, group});
  return all;
}

const std::optional<std::string>* column_setting(const ColumnsConfig& columns, std::string_view field) {
  if (field == "text") return &columns.text;
  if (field == "text_pair") return &columns.text_pair;
  if (field == "choices") return &columns.choices;
  return nullptr;
}

Layout layout_of(const ExampleSource& source, const SequencePlan& plan) {
  const FileFormat format = source.file.format;
  Layout layout = format == FileFormat::glue_tsv ? dump_layout(source)
                  : source.spec.own_files        ? own_layout(source, plan)
                                                 : plain_layout(source, plan);
  if (!source.spec.group.empty()) layout.group = {source.spec.group};
  layout.format.file = format;
  layout.format.max_line_bytes = source.data.max_line_bytes;
  layout.format.more_files = source.file.more;
  set_kinds(layout, source.spec, plan);
  if (format == FileFormat::csv) {
    layout.format.delimiter = source.data.delimiter.at(0);
    layout.format.quoting = true;
  }
  if (format == FileFormat::tsv) layout.format.quoting = source.data.quoting == "csv";
  return layout;
}

}  // namespace peft
