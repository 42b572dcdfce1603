#include "peft/data/rows.h"

#include <algorithm>
#include <fstream>

#include "peft/base/error.h"
#include "peft/text/utf8.h"
#include "row_readers.h"

namespace peft {
namespace {

// A .json file is an array, an object whose first list is its rows, or JSON Lines under another name (what the datasets
// library's to_json writes).
bool holds_array(const std::filesystem::path& path) {
  std::string start(4096, '\0');  // its line may be as long as the file
  std::ifstream stream(path, std::ios::binary);
  stream.read(start.data(), static_cast<std::streamsize>(start.size()));
  start.resize(static_cast<std::size_t>(stream.gcount()));
  return start_of_array(start).has_value();
}

}  // namespace

std::string_view kind_name(Cell::Kind kind) {
  switch (kind) {
    case Cell::Kind::missing:
      return "missing";
    case Cell::Kind::text:
    case Cell::Kind::field:
      return "a string";
    case Cell::Kind::integer:
      return "an integer";
    case Cell::Kind::real:
      return "a number";
    case Cell::Kind::boolean:
      return "a boolean";
    case Cell::Kind::null:
      return "null";
    case Cell::Kind::array:
      return "an array";
    case Cell::Kind::object:
      return "an object";
  }
  return "";
}

std::string shortened(std::string_view text, std::size_t bytes) {
  std::size_t end = std::min(text.size(), bytes);
  while (end < text.size() && end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  std::string out;
  std::size_t valid = 0;  // up to here the text is known to be UTF-8
  for (std::size_t i = 0; i < end; ++i) {
    if (i >= valid) valid = i + find_invalid_utf8(text.substr(i, end - i)).value_or(end - i);
    const char c = text[i];
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F || i == valid) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return end < text.size() ? out + "..." : out;
}

std::string join_names(const std::vector<std::string>& names) {
  constexpr std::size_t longest_name = 60;
  std::string list;
  for (const auto& name : names) list += (list.empty() ? "" : ", ") + shortened(name, longest_name);
  return list;
}

std::unique_ptr<RowReader> open_rows(const std::filesystem::path& path, const RowFormat& format,
                                     const std::vector<Column>& columns, BadRows& bad) {
  switch (format.file) {
    case FileFormat::glue_tsv:
    case FileFormat::tsv:
    case FileFormat::csv:
      return open_delimited(path, format, columns, bad);
    case FileFormat::lines:
      return open_plain_lines(path, format, columns, bad);
    case FileFormat::json:
      if (holds_array(path)) return open_json_array(path, format, columns, bad);
      [[fallthrough]];
    case FileFormat::jsonl:
      return open_json_lines(path, format, columns, bad);
    case FileFormat::conll:
      return open_conll(path, format, columns, bad);
    case FileFormat::parquet:
    case FileFormat::arrow:
      return open_arrow(path, format, columns, bad);
  }
  throw_error<Error>("{}: unknown format", path.string());
}

}  // namespace peft
