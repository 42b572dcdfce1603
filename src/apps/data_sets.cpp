#include "src/apps/data_sets.h"

#include "peft/base/fields.h"

namespace peft {

void apply_data_sets(TaskConfig& task, DataConfig& data, const std::vector<std::string>& sets) {
  if (sets.empty()) return;
  const auto visit = [&](Fields& fields) {
    fields.field("task", task, {});
    fields.field("data", data, {});
  };
  Json json = print_fields(visit);
  for (const std::string& assignment : sets) apply_set(json, assignment);
  task = {};
  data = {};
  parse_fields(visit, json, "--set");
}

}  // namespace peft
