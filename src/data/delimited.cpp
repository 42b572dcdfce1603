#include <algorithm>
#include <charconv>

#include "peft/base/error.h"
#include "record_reader.h"
#include "row_readers.h"

namespace peft {
namespace {

constexpr std::size_t longest_plausible_name = 40;

bool is_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

/// Fields of a header line between `delimiter`, without quotes around them.
std::vector<std::string_view> header_fields(std::string_view line, char delimiter) {
  std::vector<std::string_view> fields;
  while (true) {
    const std::size_t end = line.find(delimiter);
    std::string_view field = line.substr(0, end);
    if (field.size() > 1 && field.front() == '"' && field.back() == '"') field = field.substr(1, field.size() - 2);
    fields.push_back(field);
    if (end == std::string_view::npos) return fields;
    line.remove_prefix(end + 1);
  }
}

/// Whether a field is quoted as csv quotes: marks around it, and any inside doubled.
bool looks_quoted(std::string_view field) {
  if (field.size() < 2 || field.front() != '"' || field.back() != '"') return false;
  bool doubled = false;
  for (std::size_t i = 1; i + 1 < field.size(); ++i) {
    if (field[i] != '"') continue;
    if (i + 2 >= field.size() || field[i + 1] != '"') return false;
    doubled = true;
    ++i;
  }
  return doubled;  // without one inside, the marks may be the text's own
}

std::string list_fields(const std::vector<std::string_view>& fields) {
  std::string list;
  for (const auto field : fields) list += (list.empty() ? "" : ", ") + shortened(field, longest_plausible_name);
  return list;
}

class DelimitedReader final : public RowReader {
 public:
  DelimitedReader(const std::filesystem::path& path, const RowFormat& format, const std::vector<Column>& columns,
                  BadRows& bad)
      : records_(path, format.delimiter, format.quoting, format.fields, format.max_line_bytes),
        bad_(bad),
        warn_of_quotes_(format.file == FileFormat::tsv && !format.quoting && format.fields == 0) {
    if (!records_.next()) throw_error<DataError>("{}: no examples", file());
    const bool names_inside = std::any_of(columns.begin(), columns.end(), [&](const Column& column) {
      return !column.name.empty() &&
             std::find(records_.fields().begin(), records_.fields().end(), column.name) != records_.fields().end();
    });
    if (format.headerless.empty() || (names_inside && format.header_allowed)) {
      read_header(format, columns);
    } else {
      if (names_inside)
        throw_error<DataError>(
            "{}:1: header {}; expected no header but rows of {} (task \"classification\" reads files with one)", file(),
            list_fields(records_.fields()), join_names(format.headerless));
      names_ = format.headerless;
      pending_ = true;
      has_header_ = false;
    }
    for (const Column& column : columns) {
      const auto at = std::find(names_.begin(), names_.end(), column.name);
      positions_.push_back(column.name.empty() || at == names_.end() ? -1 : at - names_.begin());
    }
  }

  bool next(Row& row) override {
    while (pending_ || records_.next()) {
      pending_ = false;
      const int64_t number = rows_++;
      if (!records_.problem_kind().empty()) {
        bad_.report(records_.problem_kind(), records_.problem_line(), records_.problem());
        continue;
      }
      const auto& fields = records_.fields();
      if (fields.size() != names_.size()) {
        bad_.report("columns", records_.line(),
                    fmt::format("{} columns, expected {} ({}){}", fields.size(), names_.size(), join_names(names_),
                                cut_in_quotes(fields) ? quoting_advice : ""));
        continue;
      }
      if (warn_of_quotes_ && std::any_of(fields.begin(), fields.end(), looks_quoted))
        bad_.doubt(records_.line(),
                   fmt::format("a field stands in quotes as in csv, and they are read as text{}", quoting_advice));
      row.line = records_.line();
      row.number = number;
      row.cells.resize(positions_.size());
      for (std::size_t i = 0; i < positions_.size(); ++i)
        row.cells[i] =
            positions_[i] < 0 ? Cell{} : Cell{Cell::Kind::field, fields[static_cast<std::size_t>(positions_[i])]};
      return true;
    }
    return false;
  }

  std::vector<std::string> names() const override { return names_; }
  int64_t rows() const override { return rows_; }
  std::string content_hash() const override { return records_.lines().content_hash(); }
  bool has_header() const override { return has_header_; }

 private:
  static constexpr const char* quoting_advice = "; data.quoting \"csv\" reads quoted fields";

  const std::string& file() const { return records_.lines().file(); }

  /// A quoted field that holds a tab or a line break falls into pieces.
  bool cut_in_quotes(const std::vector<std::string_view>& fields) const {
    return warn_of_quotes_ && std::any_of(fields.begin(), fields.end(), [](std::string_view field) {
             return field.starts_with('"') && std::count(field.begin(), field.end(), '"') % 2 != 0;
           });
  }

  /// What would make the columns appear in a header that lacks them; empty: nothing known.
  std::string header_advice(const RowFormat& format, const std::vector<std::string>& required) const {
    const std::string_view line = records_.lines().text();
    const auto complete = [&](char delimiter) {
      const auto fields = header_fields(line, delimiter);
      return std::all_of(required.begin(), required.end(), [&](const std::string& name) {
        return std::find(fields.begin(), fields.end(), name) != fields.end();
      });
    };
    if (warn_of_quotes_ && complete('\t')) return quoting_advice;
    for (const char delimiter : {',', ';', '\t', '|'}) {
      if (delimiter == format.delimiter || !complete(delimiter)) continue;
      const std::string spelled = delimiter == '\t' ? "\\t" : std::string(1, delimiter);
      return format.file == FileFormat::csv
                 ? fmt::format("; the fields stand between \"{0}\": set data.delimiter to \"{0}\"", spelled)
                 : fmt::format("; the fields stand between \"{0}\": set data.format to \"csv\"{1}", spelled,
                               delimiter == ',' ? "" : fmt::format(" and data.delimiter to \"{}\"", spelled));
    }
    return {};
  }

  void read_header(const RowFormat& format, const std::vector<Column>& columns) {
    std::vector<std::string> required;
    for (const Column& column : columns) {
      if (!column.name.empty() && column.required) required.push_back(column.name);
    }
    if (!records_.problem_kind().empty())
      throw_error<DataError>("{}:{}: {}{}", file(), records_.problem_line(), records_.problem(),
                             records_.problem_kind() == "quote" ? header_advice(format, required) : "");
    const auto& fields = records_.fields();
    bool complete = true;
    for (const Column& column : columns) {
      if (column.name.empty()) continue;
      const auto found = std::count(fields.begin(), fields.end(), column.name);
      if (found > 1)
        throw_error<DataError>("{}:1: column {} occurs {} times in the header", file(), column.name, found);
      complete = complete && (found == 1 || !column.required);
    }
    if (!complete) {
      const bool data = std::any_of(fields.begin(), fields.end(), [](std::string_view field) {
        return field.empty() || field.size() > longest_plausible_name || is_number(field);
      });
      const std::string advice = header_advice(format, required);
      throw_error<DataError>("{}:1: header {}; expected {}{}", file(), list_fields(fields),
                             join_names(format.expected.empty() ? required : format.expected),
                             !advice.empty() ? advice
                             : data          ? " (line 1 looks like data)"
                                             : "");
    }
    names_.assign(fields.begin(), fields.end());
  }

  RecordReader records_;
  BadRows& bad_;
  bool warn_of_quotes_;  // a tsv file whose quotes are text
  std::vector<std::string> names_;
  std::vector<std::ptrdiff_t> positions_;  // of the columns asked for; -1: not in this file
  bool has_header_ = true;
  bool pending_ = false;  // the record read to look for a header is a row
  int64_t rows_ = 0;
};

}  // namespace

std::unique_ptr<RowReader> open_delimited(const std::filesystem::path& path, const RowFormat& format,
                                          const std::vector<Column>& columns, BadRows& bad) {
  return std::make_unique<DelimitedReader>(path, format, columns, bad);
}

}  // namespace peft
