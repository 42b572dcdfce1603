#include "task_fields.h"

#include <charconv>

#include "label_parser.h"
#include "peft/base/error.h"
#include "row_readers.h"

namespace peft {
namespace {

using Kind = RecordInput::Kind;

Kind kind_of(SequencePlan::Count count) {
  if (count == SequencePlan::Count::optional) return Kind::optional_text;
  return count == SequencePlan::Count::list ? Kind::texts : Kind::text;
}

std::string_view text_in(const Cell& cell, std::string_view column) {
  if (cell.kind != Cell::Kind::text && cell.kind != Cell::Kind::field)
    throw BadRecord{"type", fmt::format("{} is {}, expected a string", column, kind_name(cell.kind))};
  return cell.text;
}

std::vector<std::string_view> texts_in(const Cell& cell, std::string_view column, bool may_be_empty) {
  const auto members = list_members(cell);
  if (!members || (members->empty() && !may_be_empty)) {
    throw BadRecord{"type", fmt::format("{} is {}, expected a list of strings", column,
                                        members ? "an empty list" : kind_name(cell.kind))};
  }
  std::vector<std::string_view> texts;
  for (std::size_t i = 0; i < members->size(); ++i)
    texts.push_back(text_in((*members)[i], fmt::format("{}[{}]", column, i)));
  return texts;
}

std::vector<int64_t> integers_in(const InputCell& found) {
  const auto members = list_members(*found.cell);
  if (!members)
    throw BadRecord{"type",
                    fmt::format("{} is {}, expected a list of integers", found.column, kind_name(found.cell->kind))};
  std::vector<int64_t> numbers;
  for (std::size_t i = 0; i < members->size(); ++i)
    numbers.push_back(integer_in({&(*members)[i], fmt::format("{}[{}]", found.column, i)}));
  return numbers;
}

std::string join_keys(const std::map<std::string, std::string>& table) {
  std::vector<std::string> keys;
  for (const auto& entry : table) keys.push_back(entry.first);
  return join_names(keys);
}

}  // namespace

std::string without_python_bytes(std::string_view text) {
  const bool wrapped =
      text.size() >= 3 && text[0] == 'b' && (text[1] == '\'' || text[1] == '"') && text.back() == text[1];
  if (!wrapped) return std::string(text);
  std::string bytes;
  for (std::size_t i = 2; i + 1 < text.size(); ++i) {
    if (text[i] != '\\') {
      bytes += text[i];
      continue;
    }
    const char escaped = text[++i];
    int code = 0;
    if (escaped == 'x' && i + 3 < text.size() &&
        std::from_chars(&text[i + 1], &text[i + 3], code, 16).ptr == &text[i + 3]) {
      bytes += static_cast<char>(code);
      i += 2;
    } else if (const auto known = std::string_view("tnr\\'\"").find(escaped);
               known != std::string_view::npos && i + 1 < text.size()) {
      bytes += "\t\n\r\\'\""[known];
    } else {
      throw BadRecord{"encoding", fmt::format("column {} of a text in b'...': unknown escape", i + 1)};
    }
  }
  if (const auto why = encoding_problem(bytes)) throw BadRecord{"encoding", *why};
  return bytes;
}

int64_t integer_in(const InputCell& found, std::string_view advice) {
  if (const auto number = integer_of(*found.cell)) return *number;
  const std::string shown = found.cell->kind == Cell::Kind::field
                                ? fmt::format("\"{}\"", shortened(found.cell->text, longest_quote))
                                : std::string(kind_name(found.cell->kind));
  throw BadRecord{"type", fmt::format("{} is {}, expected an integer{}", found.column, shown, advice)};
}

TaskFields::TaskFields(const TaskSpec& spec, bool python_bytes)
    : spec_(spec), plan_(spec), inputs_(spec.inputs), python_bytes_(python_bytes) {
  if (inputs_.empty() != (spec.derive == nullptr)) throw Error("a task's inputs and derive go together");
  if (!inputs_.empty()) return;
  for (const SequencePlan::Field& field : plan_.fields()) inputs_.push_back({field.name, kind_of(field.count)});
}

bool TaskFields::required(const RecordInput& input) {
  return input.kind != Kind::optional_text && input.kind != Kind::optional_texts &&
         input.kind != Kind::optional_number && input.kind != Kind::optional_numbers;
}

RecordValue TaskFields::value_of(const RecordInput& input, const InputCell& found) const {
  RecordValue value{.given = true};
  switch (input.kind) {
    case Kind::optional_text:
    case Kind::text:
      value.text = text_in(*found.cell, found.column);
      break;
    case Kind::texts:
    case Kind::any_texts:
    case Kind::optional_texts:
      value.texts = texts_in(*found.cell, found.column, input.kind != Kind::texts);
      break;
    case Kind::number:
    case Kind::optional_number:
      value.number = integer_in(found);
      break;
    case Kind::optional_numbers:
      value.numbers = integers_in(found);
      break;
  }
  const auto table = spec_.wordings.find(input.name);
  if (table == spec_.wordings.end()) return value;
  const auto wording = table->second.find(std::string(value.text));
  if (wording == table->second.end()) {
    throw BadRecord{"field", fmt::format("{} \"{}\"; expected one of {}", found.column,
                                         shortened(value.text, longest_quote), join_keys(table->second))};
  }
  value.text = wording->second;
  return value;
}

void TaskFields::read(const std::vector<InputCell>& cells, RecordTexts& out) const {
  out.values.clear();
  out.texts.clear();
  out.candidates.clear();
  out.derived = {};
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    const bool absent = cells[i].cell->kind == Cell::Kind::missing;
    out.values.push_back(absent ? RecordValue{} : value_of(inputs_[i], cells[i]));
    if (absent && spec_.derive == nullptr) out.values.pop_back();  // the last one: its side of the pair is left out
  }
  if (python_bytes_) {
    out.derived.texts.reserve(out.values.size());  // views into them must last
    for (RecordValue& value : out.values) value.text = out.derived.texts.emplace_back(without_python_bytes(value.text));
  }
  if (spec_.derive != nullptr) {
    spec_.derive(out.values, out.derived);
    out.texts.assign(out.derived.texts.begin(), out.derived.texts.end());
    out.candidates.assign(out.derived.candidates.begin(), out.derived.candidates.end());
    return;
  }
  for (std::size_t i = 0; i < out.values.size(); ++i) {
    const RecordValue& value = out.values[i];
    if (inputs_[i].kind == Kind::texts) {
      out.texts.insert(out.texts.end(), value.texts.begin(), value.texts.end());
    } else {
      out.texts.push_back(value.text);
    }
  }
}

}  // namespace peft
