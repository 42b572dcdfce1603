#include <cmath>
#include <vector>

#include "peft/base/fields.h"
#include "src/base/field_text.h"

namespace peft {
namespace {

/// The schema of one type; bounds and choices of a list or map hold for its elements.
struct TypeSchema {
  const FieldInfo& info;

  Json operator()(const bool*) const { return {{"type", "boolean"}}; }
  Json operator()(const double*) const { return bounded({{"type", "number"}}); }
  Json operator()(const int64_t*) const {
    Json schema = bounded({{"type", "integer"}});
    if (!std::isfinite(info.min)) schema["minimum"] = std::numeric_limits<int64_t>::min();
    if (!std::isfinite(info.max)) schema["maximum"] = std::numeric_limits<int64_t>::max();
    return schema;
  }
  Json operator()(const std::string*) const {
    Json schema = {{"type", "string"}};
    if (!info.choices.empty()) schema["enum"] = info.choices;
    return schema;
  }
  Json operator()(const Json*) const { return Json::object(); }
  template <class T>
  Json operator()(const std::vector<T>*) const {
    return {{"type", "array"}, {"items", (*this)(static_cast<const T*>(nullptr))}};
  }
  template <class T>
  Json operator()(const std::map<std::string, T>*) const {
    return {{"type", "object"}, {"additionalProperties", (*this)(static_cast<const T*>(nullptr))}};
  }
  template <class T>
  Json operator()(const OrderedMap<T>*) const {
    return (*this)(static_cast<const std::map<std::string, T>*>(nullptr));
  }
  template <class T>
  Json operator()(const std::optional<T>*) const {
    Json schema = (*this)(static_cast<const T*>(nullptr));
    schema["type"] = Json::array({schema["type"], "null"});
    if (schema.contains("enum")) schema["enum"].push_back(nullptr);
    return schema;
  }

 private:
  Json bounded(Json schema) const {
    if (std::isfinite(info.min)) schema[info.min_exclusive ? "exclusiveMinimum" : "minimum"] = info.min;
    if (std::isfinite(info.max)) schema[info.max_exclusive ? "exclusiveMaximum" : "maximum"] = info.max;
    return schema;
  }
};

Json empty_object_schema() {
  return {{"type", "object"}, {"properties", Json::object()}, {"additionalProperties", false}};
}

class SchemaWriter final : public Fields {
 public:
  Json take() { return std::move(root_); }

 protected:
  void leaf(std::string_view name, Leaf value, const FieldInfo& info) override {
    Json schema = std::visit(TypeSchema{info}, value);
    if (!info.help.empty()) schema["description"] = info.help;
    if (info.required) {
      require(name);
    } else if (auto initial = leaf_json(value)) {
      schema["default"] = std::move(*initial);
    }
    (*open_.back().schema)["properties"][std::string(name)] = std::move(schema);
  }

  bool begin_section(std::string_view name, const FieldInfo& info) override {
    Json& section = (*open_.back().schema)["properties"][std::string(name)];
    if (section.is_null()) section = empty_object_schema();
    if (!info.help.empty()) section["description"] = info.help;
    if (info.required) require(name);
    open_.push_back({std::string(name), &section});
    return true;
  }

  void end_section() override {
    const Open closed = open_.back();
    open_.pop_back();
    if (closed.schema->contains("required")) require(closed.name);  // an absent section misses its required keys
  }

 private:
  struct Open {
    std::string name;
    Json* schema;
  };

  void require(std::string_view name) {
    Json& required = (*open_.back().schema)["required"];
    for (const Json& known : required) {
      if (known == name) return;
    }
    required.push_back(name);
  }

  Json root_ = empty_object_schema();
  std::vector<Open> open_ = {{"", &root_}};
};

}  // namespace

Json schema_fields(const std::function<void(Fields&)>& visit) {
  SchemaWriter writer;
  visit(writer);
  return writer.take();
}

}  // namespace peft
