#include <vector>

#include "peft/base/fields.h"
#include "src/base/field_text.h"

namespace peft {
namespace {

class Printer final : public Fields {
 public:
  Json take() { return std::move(root_); }

 protected:
  void leaf(std::string_view name, Leaf value, const FieldInfo&) override {
    if (auto json = leaf_json(value)) (*open_.back())[std::string(name)] = std::move(*json);
  }
  bool begin_section(std::string_view name, const FieldInfo&) override {
    Json& section = (*open_.back())[std::string(name)];
    if (section.is_null()) section = Json::object();
    open_.push_back(&section);
    return true;
  }
  void end_section() override { open_.pop_back(); }

 private:
  Json root_ = Json::object();
  std::vector<Json*> open_ = {&root_};
};

}  // namespace

Json print_fields(const std::function<void(Fields&)>& visit) {
  Printer printer;
  visit(printer);
  return printer.take();
}

}  // namespace peft
