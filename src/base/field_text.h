#pragma once
/// Words and values of fields that the visitors of fields.h share.

#include <optional>
#include <string>
#include <string_view>

#include "peft/base/fields.h"

namespace peft {

/// "train" + "seed" = "train.seed"; the top level has the empty path.
std::string joined_path(std::string_view path, std::string_view name);

/// `>= 0 and < 1`, or empty without bounds.
std::string range_words(const FieldInfo& info);

/// `"adamw", "sgd"`
std::string quoted_list(const std::vector<std::string>& names);

/// Lower case, `-` as `_`: differences that people do not see as such.
std::string folded_name(std::string_view name);

/// JSON on one line, cut to a length that suits a message.
std::string short_json(const Json& value);

/// The field's value; nothing for an absent optional.
std::optional<Json> leaf_json(const Fields::Leaf& leaf);

/// What a value of each type is called in messages and tables.
struct TypeWords {
  std::string operator()(const bool*) const { return "true or false"; }
  std::string operator()(const int64_t*) const { return "an integer"; }
  std::string operator()(const double*) const { return "a number"; }
  std::string operator()(const std::string*) const { return "a string"; }
  std::string operator()(const std::vector<std::string>*) const { return "a list of strings"; }
  std::string operator()(const std::vector<int64_t>*) const { return "a list of integers"; }
  std::string operator()(const std::map<std::string, double>*) const { return "an object of numbers"; }
  std::string operator()(const std::map<std::string, int64_t>*) const { return "an object of integers"; }
  std::string operator()(const std::map<std::string, std::string>*) const { return "an object of strings"; }
  std::string operator()(const OrderedMap<double>*) const { return "an object of numbers"; }
  std::string operator()(const OrderedMap<int64_t>*) const { return "an object of integers"; }
  std::string operator()(const Json*) const { return "any value"; }
  template <class T>
  std::string operator()(const std::optional<T>*) const {
    return (*this)(static_cast<const T*>(nullptr));
  }
};

}  // namespace peft
