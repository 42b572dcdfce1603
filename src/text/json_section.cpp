#include "src/text/json_section.h"

#include <stdexcept>
#include <utility>

#include "peft/base/error.h"

namespace peft::text {

JsonSection::JsonSection(const Json& value, std::string origin, std::string path)
    : value_(&value), origin_(std::move(origin)), path_(std::move(path)) {}

void JsonSection::fail(std::string_view message) const { throw_error<DataError>("{}: {}", place(), message); }

std::string JsonSection::place() const { return path_.empty() ? origin_ : origin_ + ": " + path_; }

void JsonSection::fail_type(std::string_view expected) const {
  fail(fmt::format("is {}, expected {}", value_->is_null() ? "null" : value_->type_name(), expected));
}

const Json& JsonSection::object() const {
  if (!value_->is_object()) fail_type("an object");
  return *value_;
}

bool JsonSection::has(const std::string& key) const {
  const auto found = object().find(key);
  return found != value_->end() && !found->is_null();
}

bool JsonSection::contains(const std::string& key) const { return object().contains(key); }

JsonSection JsonSection::at(const std::string& key) const {
  const auto found = object().find(key);
  if (found == value_->end()) fail(fmt::format("key \"{}\" is missing", key));
  return {*found, origin_, path_.empty() ? key : path_ + "." + key};
}

std::vector<JsonSection> JsonSection::items() const {
  if (!value_->is_array()) fail_type("an array");
  std::vector<JsonSection> out;
  for (std::size_t i = 0; i < value_->size(); ++i)
    out.emplace_back((*value_)[i], origin_, fmt::format("{}[{}]", path_, i));
  return out;
}

const std::string& JsonSection::string() const {
  if (!value_->is_string()) fail_type("a string");
  return value_->get_ref<const std::string&>();
}

bool JsonSection::boolean() const {
  if (!value_->is_boolean()) fail_type("true or false");
  return value_->get<bool>();
}

int64_t JsonSection::integer(int64_t low, int64_t high) const {
  const std::string expected = fmt::format("an integer from {} to {}", low, high);
  if (!value_->is_number_integer()) fail_type(expected);
  const bool too_large = value_->is_number_unsigned() && value_->get<uint64_t>() > static_cast<uint64_t>(high);
  const int64_t number = too_large ? high : value_->get<int64_t>();
  if (too_large || number < low || number > high) fail(fmt::format("is {}, expected {}", value_->dump(), expected));
  return number;
}

Json parse_data_json(std::string_view text, const std::string& origin) {
  try {
    return parse_json(text, origin);
  } catch (const std::invalid_argument& error) {
    throw DataError(error.what());
  }
}

}  // namespace peft::text
