#include "json_cells.h"

#include <charconv>
#include <cstdint>
#include <stdexcept>

#include "peft/base/error.h"

namespace peft {
namespace {

// The value of a key, or of a nested key written a.b; nullptr where there is none.
const Json* find_key(const Json& object, std::string_view path) {
  const Json* value = &object;
  if (const auto whole = object.find(path); whole != object.end()) return &*whole;
  while (true) {
    const auto dot = path.find('.');
    const auto found = value->is_object() ? value->find(path.substr(0, dot)) : value->end();
    if (!value->is_object() || found == value->end()) return nullptr;
    value = &*found;
    if (dot == std::string_view::npos) return value;
    path.remove_prefix(dot + 1);
  }
}

}  // namespace

Cell cell_of(const Json* value) {
  if (value == nullptr) return {};
  switch (value->type()) {
    case Json::value_t::string:
      return {Cell::Kind::text, value->get_ref<const std::string&>()};
    case Json::value_t::boolean:
      return {Cell::Kind::boolean, {}, value->get<bool>() ? 1.0 : 0.0};
    case Json::value_t::number_unsigned:
      if (value->get<uint64_t>() > uint64_t{INT64_MAX}) return {Cell::Kind::real, {}, value->get<double>()};
      [[fallthrough]];
    case Json::value_t::number_integer:
      return {Cell::Kind::integer, {}, value->get<double>(), value->get<int64_t>()};
    case Json::value_t::number_float:
      return {Cell::Kind::real, {}, value->get<double>()};
    case Json::value_t::array: {
      Cell cell{.kind = Cell::Kind::array};
      for (const Json& item : *value) cell.items.push_back(cell_of(&item));
      return cell;
    }
    case Json::value_t::object:
      return {.kind = Cell::Kind::object};
    default:
      return {.kind = Cell::Kind::null};
  }
}

void JsonRows::reject(std::string_view kind, int64_t line, std::string_view message) {
  ++rows_;
  bad_.report(kind, line, message);
}

void JsonRows::parse(std::string_view text, int64_t line) {
  flat_ = {};
  at_ = 0;
  line_ = line;
  if (const auto why = encoding_problem(text)) return reject("encoding", line, *why);
  Json value;
  try {
    value = parse_json(text, "");
  } catch (const std::invalid_argument& error) {
    // ": column 31: ..." of one line, ":2: column 31: ..." of several; the number counts from the start of the value.
    std::string_view why = error.what();
    int64_t offset = 1;
    if (why.starts_with(':')) why.remove_prefix(1);
    if (const auto [end, failed] = std::from_chars(why.data(), why.data() + why.size(), offset); failed == std::errc())
      why.remove_prefix(static_cast<std::size_t>(end - why.data()) + 1);
    if (why.starts_with(' ')) why.remove_prefix(1);
    return reject("json", line + offset - 1, why);
  }
  if (!value.is_object())
    return reject("json", line, fmt::format("column 1: {}, expected an object", kind_name(cell_of(&value).kind)));
  if (flatten_ == nullptr) {
    flat_.rows.push_back(std::move(value));
    return;
  }
  try {
    flatten_(value, flat_);
  } catch (const BadRecord& problem) {
    flat_ = {};
    return reject(problem.kind, line, problem.message);
  }
  for (const auto& [kind, times] : flat_.counts) bad_.count(kind, times);
}

bool JsonRows::next(Row& row) {
  if (at_ == flat_.rows.size()) return false;
  const Json& value = flat_.rows[at_++];
  row.line = line_;
  row.number = rows_++;
  row.cells.clear();
  for (const Column& column : columns_)
    row.cells.push_back(column.name.empty() ? Cell{} : cell_of(find_key(value, column.name)));
  return true;
}

std::vector<std::string> JsonRows::names() const {
  std::vector<std::string> names;
  if (at_ == 0) return names;
  for (const auto& item : flat_.rows[at_ - 1].items()) names.push_back(item.key());
  return names;
}

}  // namespace peft
