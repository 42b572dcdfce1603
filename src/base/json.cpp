#include "peft/base/json.h"

#include <algorithm>
#include <iterator>
#include <stdexcept>
#include <utility>

#include "peft/base/error.h"
#include "peft/base/files.h"
#include "peft/base/ordered_map.h"

namespace peft {
namespace {

constexpr std::size_t max_depth = 64;  // deeper text is an attack or an accident, never a config or a tokenizer
constexpr std::size_t longest_message = 120;

/// Input iterator that publishes how far it went: the library's events carry no position.
class Cursor {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  Cursor(const char* at, const char** reached) : at_(at), reached_(reached) {}
  reference operator*() const { return *at_; }
  Cursor& operator++() {
    *reached_ = ++at_;
    return *this;
  }
  Cursor operator++(int) {
    Cursor before = *this;
    ++*this;
    return before;
  }
  bool operator==(const Cursor& other) const { return at_ == other.at_; }
  bool operator!=(const Cursor& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** reached_;
};

/// The same text with `//` comments blanked, so that positions stay.
std::string blank_comments(std::string_view text) {
  std::string out(text);
  bool in_string = false;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (in_string) {
      if (out[i] == '\\') {
        ++i;
      } else if (out[i] == '"' || out[i] == '\n') {  // a line feed ends an unclosed string: the parser reports it there
        in_string = false;
      }
    } else if (out[i] == '"') {
      in_string = true;
    } else if (out[i] == '/' && i + 1 < out.size() && out[i + 1] == '/') {
      for (; i < out.size() && out[i] != '\n' && out[i] != '\r'; ++i) out[i] = ' ';
    }
  }
  return out;
}

/// The library's message without its number, its own position and the text it read (which may be long, and begins before the fault).
std::string plain_message(std::string message) {
  const auto drop_through = [&](std::string_view start, std::string_view end) {
    if (message.compare(0, start.size(), start) != 0) return;
    if (const auto at = message.find(end); at != std::string::npos) message.erase(0, at + end.size());
  };
  drop_through("[json.exception", "] ");
  drop_through("parse error", ": ");
  drop_through("syntax error while parsing", " - ");

  const auto start = message.find("; last read: '");
  if (start == std::string::npos)
    return message.substr(0, longest_message);  // a number of a million digits is quoted whole
  const auto end = message.rfind("'; expected ");
  message.erase(start, end == std::string::npos || end < start ? std::string::npos : end + 1 - start);
  return message;
}

/// Builds the value; stops at a duplicate key or at too deep a nesting.
class Builder final : public nlohmann::json_sax<Json> {
 public:
  explicit Builder(std::string_view text) : text_(text), reached_(text.data()) {}

  const char** reached() { return &reached_; }
  Json take() { return std::move(root_); }
  const std::string& error() const { return error_; }
  std::size_t error_offset() const { return error_offset_; }

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(number_integer_t value) override { return put(value); }
  bool number_unsigned(number_unsigned_t value) override { return put(value); }
  bool number_float(number_float_t value, const string_t&) override { return put(value); }
  bool string(string_t& value) override { return put(std::move(value)); }
  bool binary(binary_t&) override { return false; }  // no JSON text holds binary values
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    const auto [at, inserted] = open_.back().json->emplace(name, nullptr);
    if (!inserted) return fail("duplicate key " + Json(name).dump(), start_of_string());
    member_ = &*at;
    member_kept_ = kept_order(name);
    if (open_.back().kept == KeptOrder::itself) open_.back().names.push_back(name);
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    return fail(plain_message(error.what()), position == 0 ? 0 : position - 1);
  }

 private:
  std::size_t offset() const { return static_cast<std::size_t>(reached_ - text_.data()); }

  /// Offset of the opening quote of the string that was just read to its end.
  std::size_t start_of_string() const {
    std::size_t at = offset() - 1;
    while (at > 0) {
      if (text_[--at] != '"') continue;
      std::size_t backslashes = 0;
      while (backslashes < at && text_[at - 1 - backslashes] == '\\') ++backslashes;
      if (backslashes % 2 == 0) break;
    }
    return at;
  }

  bool fail(std::string message, std::size_t at) {
    error_ = std::move(message);
    error_offset_ = at;
    return false;
  }

  template <class Value>
  bool put(Value&& value) {
    place(std::forward<Value>(value));
    return true;
  }

  Json* place(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (Json& around = *open_.back().json; around.is_array()) {
      around.push_back(std::move(value));
      return &around.back();
    }
    *member_ = std::move(value);
    return member_;
  }

  /// An object below such a key keeps its order, or those in the list below one.
  KeptOrder order_of(bool object) const {
    if (open_.empty()) return KeptOrder::none;
    const bool in_object = open_.back().json->is_object();
    if (in_object) return (member_kept_ == KeptOrder::itself) == object ? member_kept_ : KeptOrder::none;
    return object && open_.back().kept == KeptOrder::elements ? KeptOrder::itself : KeptOrder::none;
  }

  bool open(Json container) {
    if (open_.size() == max_depth) return fail(fmt::format("nested deeper than {}", max_depth), offset() - 1);
    const KeptOrder kept = order_of(container.is_object());
    open_.push_back({place(std::move(container)), kept, {}});
    return true;
  }

  bool close() {
    const Open closed = std::move(open_.back());
    open_.pop_back();
    if (!closed.names.empty()) *closed.json = ordered_object(closed.names, std::move(*closed.json));
    return true;
  }

  /// An object or a list that is being read.
  struct Open {
    Json* json;
    KeptOrder kept;                  // of the object, or of the objects in the list
    std::vector<std::string> names;  // of an object whose order is kept
  };

  std::string_view text_;
  const char* reached_;
  Json root_;
  std::vector<Open> open_;  // from the root to the innermost
  Json* member_ = nullptr;  // the value of the key just read
  KeptOrder member_kept_ = KeptOrder::none;
  std::string error_;
  std::size_t error_offset_ = 0;
};

/// ":LINE: column C", or ": column C" for a text of one line; columns count characters from 1.
std::string place_words(std::string_view text, std::size_t offset) {
  const std::string_view before = text.substr(0, std::min(offset, text.size()));
  const auto line_start = before.rfind('\n') + 1;  // npos + 1 = 0
  const auto column = 1 + std::count_if(before.begin() + static_cast<std::ptrdiff_t>(line_start), before.end(),
                                        [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
  if (text.find('\n') == std::string_view::npos) return fmt::format(": column {}", column);
  return fmt::format(":{}: column {}", 1 + std::count(before.begin(), before.end(), '\n'), column);
}

}  // namespace

Json parse_json(std::string_view text, std::string_view origin, JsonComments comments) {
  std::string blanked;
  std::string_view strict = text;
  if (comments == JsonComments::allow) strict = blanked = blank_comments(text);

  const auto refuse = [&](std::size_t offset, std::string_view why) {
    throw std::invalid_argument(fmt::format("{}{}: {}", origin, place_words(text, offset), why));
  };
  // The library takes a NUL for the end of the text and would pass over all that follows.
  if (const auto nul = strict.find('\0'); nul != std::string_view::npos) refuse(nul, "unexpected NUL character");

  Builder builder(strict);
  const Cursor first(strict.data(), builder.reached());
  const Cursor last(strict.data() + strict.size(), builder.reached());
  if (!Json::sax_parse(first, last, &builder)) refuse(builder.error_offset(), builder.error());
  return builder.take();
}

template <class E>
Json read_json_file(const std::filesystem::path& path, JsonComments comments) {
  try {
    return parse_json(MappedFile(path).text(), path.string(), comments);
  } catch (const std::invalid_argument& error) {
    throw E(error.what());
  } catch (const DataError& error) {
    throw E(error.what());
  }
}
template Json read_json_file<ConfigError>(const std::filesystem::path& path, JsonComments comments);
template Json read_json_file<DataError>(const std::filesystem::path& path, JsonComments comments);

}  // namespace peft
