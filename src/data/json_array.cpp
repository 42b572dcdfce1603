#include <algorithm>
#include <regex>
#include <stdexcept>

#include "json_cells.h"
#include "peft/base/error.h"
#include "row_readers.h"

namespace peft {
namespace {

constexpr std::size_t max_array_bytes = std::size_t{512} << 20;  // an array is held whole

// Elements of one array, cut apart by brackets and quotes and parsed one by one, so that messages have lines and a bad
// element does not take the others with it.
class JsonArrayReader final : public RowReader {
 public:
  JsonArrayReader(const std::filesystem::path& path, const RowFormat& format, const std::vector<Column>& columns,
                  BadRows& bad)
      : file_(path.string()), objects_(format, columns, bad) {
    LineReader lines(path, max_array_bytes);
    while (lines.next()) {
      text_ += lines.text();
      text_ += lines.ending();
      if (lines.too_long() || text_.size() > max_array_bytes)
        throw_error<DataError>("{}: a JSON array of more than 512 MiB; write JSON Lines", file_);
    }
    hash_ = lines.content_hash();
    const std::size_t begin = start_of_array(text_).value_or(0);  // which made this an array
    wrapped_ = text_.find('{') < begin;
    line_ += std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(begin), '\n');
    at_ = begin;
    skip_space();
    if (at_ < text_.size() && text_[at_] == ']') finish();
  }

  bool next(Row& row) override {
    while (true) {
      if (objects_.next(row)) return true;
      if (done_) return false;
      skip_space();
      const int64_t line = line_;
      objects_.parse(take_element(), line);
    }
  }

  std::vector<std::string> names() const override { return objects_.names(); }
  int64_t rows() const override { return objects_.rows(); }
  std::string content_hash() const override { return hash_; }

 private:
  void skip_space() {
    for (; at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos; ++at_)
      if (text_[at_] == '\n') ++line_;
  }

  // Up to the comma or bracket that ends the element, which is passed over too.
  std::string_view take_element() {
    const std::size_t begin = at_;
    const int64_t first_line = line_;
    std::size_t depth = 0;
    bool quoted = false;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '\n') ++line_;
      if (quoted) {
        if (c == '\\') {
          ++at_;
        } else if (c == '"') {
          quoted = false;
        }
      } else if (c == '"') {
        quoted = true;
      } else if (c == '{' || c == '[') {
        ++depth;
      } else if ((c == '}' || c == ']') && depth > 0) {
        --depth;
      } else if (depth == 0 && (c == ',' || c == ']')) {
        const std::string_view element = std::string_view(text_).substr(begin, at_ - begin);
        if (c == ']') {
          finish();
        } else {
          ++at_;
        }
        return element;
      }
    }
    throw_error<DataError>("{}:{}: the array ends inside this value", file_, first_line);
  }

  // At the closing bracket: nothing but white space may follow, or the other members of the object.
  void finish() {
    ++at_;
    skip_space();
    if (wrapped_) pass_members();
    if (at_ < text_.size()) throw_error<DataError>("{}:{}: text after the end of the array", file_, line_);
    done_ = true;
  }

  void pass_members() {
    const bool more = at_ < text_.size() && text_[at_] == ',';
    try {
      static_cast<void>(parse_json("{" + text_.substr(at_ + (more ? 1 : 0)), ""));
    } catch (const std::invalid_argument& error) {
      throw_error<DataError>("{}:{}: behind the list of data: expected the end of the object", file_, line_);
    }
    at_ = text_.size();
  }

  bool wrapped_ = false;
  std::string file_, text_, hash_;
  JsonRows objects_;
  std::size_t at_ = 0;
  int64_t line_ = 1;
  bool done_ = false;
};

}  // namespace

std::optional<std::size_t> start_of_array(std::string_view text) {
  // Plain members may stand in front of the list; their values hold no brackets.
  static const std::regex start(
      R"re(^(\xEF\xBB\xBF)?\s*(\[|\{\s*("[^"]*"\s*:\s*("[^"]*"|[-+.0-9a-z]+)\s*,\s*)*"data"\s*:\s*\[))re");
  std::cmatch match;
  const std::string_view head = text.substr(0, 4096);
  if (!std::regex_search(head.data(), head.data() + head.size(), match, start)) return std::nullopt;
  return static_cast<std::size_t>(match.length(0));
}

std::unique_ptr<RowReader> open_json_array(const std::filesystem::path& path, const RowFormat& format,
                                           const std::vector<Column>& columns, BadRows& bad) {
  return std::make_unique<JsonArrayReader>(path, format, columns, bad);
}

}  // namespace peft
