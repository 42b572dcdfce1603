#include "peft/data/record.h"

#include <cmath>

#include "json_cells.h"
#include "label_parser.h"
#include "peft/base/error.h"

namespace peft {

void Nested::expected(const char* what) const {
  throw BadRecord{"type", fmt::format("{} is {}, expected {}", path_, kind_name(cell_of(value_).kind), what)};
}

std::optional<Nested> Nested::find(const char* key) const {
  if (!value_->is_object()) expected("an object");
  const auto found = value_->find(key);
  if (found == value_->end()) return std::nullopt;
  return Nested(*found, path_.empty() ? key : path_ + "." + key);
}

Nested Nested::at(const char* key) const {
  if (auto found = find(key)) return *std::move(found);
  throw BadRecord{"missing", fmt::format("no key {}{}{}", path_, path_.empty() ? "" : ".", key)};
}

std::vector<Nested> Nested::items() const {
  if (!value_->is_array()) expected("an array");
  std::vector<Nested> all;
  for (std::size_t i = 0; i < value_->size(); ++i) all.emplace_back((*value_)[i], fmt::format("{}[{}]", path_, i));
  return all;
}

const std::string& Nested::text() const {
  if (!value_->is_string()) expected("a string");
  return value_->get_ref<const std::string&>();
}

int64_t Nested::integer() const {
  const auto number = integer_of(cell_of(value_));
  if (!number) expected("an integer");
  return *number;
}

int64_t Nested::zero_or_one() const {
  const Cell cell = cell_of(value_);
  if (cell.kind == Cell::Kind::boolean) return cell.number != 0 ? 1 : 0;
  const auto number = integer_of(cell);
  if (!number) expected("0 or 1");
  if (*number != 0 && *number != 1) throw BadRecord{"label", fmt::format("{} {}; expected 0 or 1", path_, *number)};
  return *number;
}

std::optional<std::string_view> code_points(std::string_view text, int64_t begin, int64_t end) {
  if (begin < 0 || end <= begin) return std::nullopt;
  std::optional<std::size_t> first;
  int64_t point = 0;  // number of the code point that starts at `at`
  for (std::size_t at = 0; at <= text.size(); ++at) {
    if (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) continue;
    if (point == begin) first = at;
    if (point == end) return text.substr(*first, at - *first);
    ++point;
  }
  return std::nullopt;
}

}  // namespace peft
