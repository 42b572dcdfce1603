#include <fmt/format.h>

#include <vector>

#include "peft/base/fields.h"
#include "src/base/field_text.h"

namespace peft {
namespace {

/// A table cell: the bar would end it.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

class TableWriter final : public Fields {
 public:
  std::string take() { return std::move(table_); }

 protected:
  void leaf(std::string_view name, Leaf value, const FieldInfo& info) override {
    const auto initial = leaf_json(value);
    std::string range = info.choices.empty() ? std::visit(TypeWords(), value) : quoted_list(info.choices);
    if (const std::string bounds = range_words(info); !bounds.empty()) range += " " + bounds;
    const std::string shown = info.required ? "required" : initial ? fmt::format("`{}`", initial->dump()) : "absent";
    table_ += fmt::format("| `{}` | {} | {} | {} |\n", joined_path(path_.back(), name), cell(shown), cell(range),
                          cell(info.help));
  }
  bool begin_section(std::string_view name, const FieldInfo&) override {
    path_.push_back(joined_path(path_.back(), name));
    return true;
  }
  void end_section() override { path_.pop_back(); }

 private:
  std::string table_ = "| key | default | range | meaning |\n|---|---|---|---|\n";
  std::vector<std::string> path_ = {""};
};

}  // namespace

std::string document_fields(const std::function<void(Fields&)>& visit) {
  TableWriter writer;
  visit(writer);
  return writer.take();
}

}  // namespace peft
