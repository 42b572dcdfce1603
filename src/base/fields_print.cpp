#include <vector>

#include "peft/base/fields.h"
#include "src/base/field_text.h"

namespace peft {
namespace {

class Printer final : public Fields {
 public:
  explicit Printer(const FieldFilter& wanted) : wanted_(wanted) {}
  Json take() { return std::move(root_); }

 protected:
  void leaf(std::string_view name, Leaf value, const FieldInfo& info) override {
    if (!takes(info)) return;
    if (auto json = leaf_json(value)) (*open_.back())[std::string(name)] = std::move(*json);
  }
  bool begin_section(std::string_view name, const FieldInfo& info) override {
    if (!takes(info)) return false;
    Json& section = (*open_.back())[std::string(name)];
    if (section.is_null()) section = Json::object();
    open_.push_back(&section);
    return true;
  }
  void end_section() override { open_.pop_back(); }

 private:
  bool takes(const FieldInfo& info) const { return !wanted_ || wanted_(info); }

  const FieldFilter& wanted_;
  Json root_ = Json::object();
  std::vector<Json*> open_ = {&root_};
};

}  // namespace

Json print_fields(const std::function<void(Fields&)>& visit, const FieldFilter& wanted) {
  Printer printer(wanted);
  visit(printer);
  return printer.take();
}

}  // namespace peft
