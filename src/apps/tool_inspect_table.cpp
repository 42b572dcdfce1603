#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <vector>

#include "peft/tensor/safetensors_header.h"
#include "src/apps/tool_inspect_report.h"

namespace peft {
namespace {

struct Line {
  std::string name, value;
};

/// Text that cannot break the table: quoted only where it holds control characters.
std::string one_line(const std::string& text) {
  const bool plain = std::ranges::none_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7F; });
  return plain ? text : quoted_name(text);
}

std::string cell(const Report& value) { return value.is_string() ? one_line(value.get<std::string>()) : value.dump(); }

std::string joined(const Report& list) {
  std::string text;
  for (const Report& value : list) text += (text.empty() ? "" : ", ") + cell(value);
  return text.empty() ? "none" : text;
}

std::string dtype_counts(const Report& dtypes) {
  std::string text;
  for (const auto& [dtype, counts] : dtypes.items()) {
    text += fmt::format("{}{} ({} tensors, {} values)", text.empty() ? "" : ", ", dtype, counts["tensors"].dump(),
                        counts["values"].dump());
  }
  return text.empty() ? "none" : text;
}

std::vector<Line> lines_of(const Report& report) {
  std::vector<Line> lines;
  for (const auto& [key, value] : report.items()) {
    if (key == "tensors") continue;
    if (key == "findings") {
      for (const Report& f : value)
        lines.push_back(
            {"finding", fmt::format("{}, step {}: {}", cell(f["name"]), f["step"].dump(), cell(f["message"]))});
    } else if (key == "dtypes") {
      lines.push_back({key, dtype_counts(value)});
    } else if (value.is_object()) {  // metadata, config, metrics
      for (const auto& [name, inner] : value.items()) lines.push_back({key + "." + one_line(name), cell(inner)});
    } else {
      lines.push_back({key, value.is_array() ? joined(value) : cell(value)});
    }
  }
  return lines;
}

std::string tensor_table(const Report& tensors) {
  std::vector<std::array<std::string, 4>> rows = {{"name", "dtype", "values", "shape"}};
  for (const Report& tensor : tensors) {
    uint64_t values = 1;
    for (const Report& size : tensor["shape"]) values *= size.get<uint64_t>();
    rows.push_back({cell(tensor["name"]), cell(tensor["dtype"]), std::to_string(values), tensor["shape"].dump()});
  }
  std::array<std::size_t, 3> widths{};
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  fmt::memory_buffer out;
  for (const auto& row : rows) {
    fmt::format_to(std::back_inserter(out), "{:<{}}  {:<{}}  {:>{}}  {}\n", row[0], widths[0], row[1], widths[1],
                   row[2], widths[2], row[3]);
  }
  return fmt::to_string(out);
}

}  // namespace

std::string to_table(const Report& report) {
  const std::vector<Line> lines = lines_of(report);
  std::size_t width = 0;
  for (const Line& line : lines) width = std::max(width, line.name.size());
  std::string text;
  for (const Line& line : lines) text += fmt::format("{:<{}}  {}\n", line.name, width, line.value);
  if (report.contains("tensors")) text += "\n" + tensor_table(report["tensors"]);
  return text;
}

}  // namespace peft
