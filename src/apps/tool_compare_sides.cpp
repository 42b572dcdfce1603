#include "src/apps/tool_compare_sides.h"

#include <filesystem>
#include <unordered_map>

#include "peft/base/files.h"
#include "peft/data/task.h"

namespace peft {
namespace {

namespace fs = std::filesystem;

/// What the run's config tells of its task.
void read_task(const fs::path& folder, ComparedSide& side) {
  const fs::path file = folder / "config.json";
  const Json config = path_exists(file) ? read_json_file<DataError>(file) : Json();
  const Json::json_pointer name("/task/name"), labels("/data/labels");
  if (!config.is_object() || !config.contains(name) || !config[name].is_string())
    throw_error<DataError>("{}: no run (config.json that names a task); it holds {}", folder.string(),
                           describe_folder(folder));
  side.task = resolve_task_name(config[name].get<std::string>());
  const TaskSpec& task = task_registry().at(side.task);
  if (!task.metrics.empty()) side.metric = task.metrics.front();
  side.values.names = task.labels;
  if (!task.labels_from_files() || !config.contains(labels)) return;
  try {
    side.values.names = config[labels].get<std::vector<std::string>>();
  } catch (const Json::exception&) {
    throw_error<DataError>("{}: data.labels is no list of names", file.string());
  }
}

std::unordered_map<std::string, std::size_t> rows_by_id(const Values& values) {
  std::unordered_map<std::string, std::size_t> rows;
  for (std::size_t row = 0; row < values.rows.size(); ++row) {
    const auto [found, fresh] = rows.emplace(id_text(values.ids[row]), row);
    if (!fresh) values.fail(row, "idx {} is that of line {} too", values.ids[row].dump(), values.lines[found->second]);
  }
  return rows;
}

void reorder(Values& values, const std::vector<std::size_t>& order) {
  Values sorted{.file = values.file, .rows = {}};
  for (const std::size_t row : order) {
    sorted.rows.push_back(std::move(values.rows[row]));
    sorted.lines.push_back(values.lines[row]);
    sorted.ids.push_back(std::move(values.ids[row]));
  }
  values = std::move(sorted);
}

void check_equal(const char* what, const Values& first, const Values& values, const Values& ids) {
  if (first.rows.size() != values.rows.size()) {
    const Values& more = first.rows.empty() ? values : first;
    const Values& less = first.rows.empty() ? first : values;
    throw_error<DataError>("{}: rows without a {}, which {} has", less.file, what, more.file);
  }
  for (std::size_t row = 0; row < values.rows.size(); ++row) {
    if (values.rows[row] == first.rows[row]) continue;
    values.fail(row, "idx {}: {} {}, expected {} as in {}:{}", ids.ids[row].dump(), what, values.rows[row].dump(),
                first.rows[row].dump(), first.file, first.lines[row]);
  }
}

/// The split that the run reports.
std::string reported_split(const fs::path& folder) {
  const fs::path file = folder / "metrics.json";
  const Json metrics = path_exists(file) ? read_json_file<DataError>(file) : Json();
  return metrics.is_object() && metrics.value("reported_split", Json()) == "test" ? "test" : "dev";
}

/// Parts of a split number their rows each from 0.
void add_parts_to_ids(PredictedValues& values) {
  const auto& parts = values.parts.rows;
  if (parts.size() != values.predictions.rows.size()) return;
  for (std::size_t row = 0; row < parts.size(); ++row)
    values.predictions.ids[row] = {{"part", parts[row]}, {"idx", values.predictions.ids[row]}};
}

}  // namespace

ComparedSide read_side(const std::string& path, const std::string& split) {
  ComparedSide side{.name = path, .values = {}};
  std::string file = path;
  if (std::error_code ignored; fs::is_directory(path, ignored)) {
    read_task(path, side);
    side.split = split.empty() ? reported_split(path) : split;
    file = (fs::path(path) / "predictions" / (side.split + ".jsonl")).string();
    if (!path_exists(file)) {
      const fs::path folder = fs::path(path) / "predictions";
      throw_error<DataError>("{}: missing; {} holds {}", file, (path_exists(folder) ? folder : fs::path(path)).string(),
                             describe_folder(path_exists(folder) ? folder : fs::path(path)));
    }
  }
  PredictedValues values = read_predictions(file, "");
  if (!side.values.names.empty()) values.names = side.values.names;
  side.values = std::move(values);
  const Values& predictions = side.values.predictions;
  for (std::size_t row = 0; row < predictions.rows.size(); ++row)
    if (predictions.ids[row].is_null()) predictions.fail(row, "no idx; rows of two runs are matched by it");
  add_parts_to_ids(side.values);
  const std::size_t n = predictions.rows.size(), references = side.values.references.rows.size();
  if (references != n)
    throw_error<DataError>("{}: {} of {} rows have a reference; runs can be compared where the labels are known", file,
                           references, n);
  if (const std::size_t groups = side.values.groups.rows.size(); groups != 0 && groups != n)
    throw_error<DataError>("{}: {} of {} rows have a group", file, groups, n);
  return side;
}

void match_rows(const ComparedSide& first, ComparedSide& side) {
  const Values& expected = first.values.predictions;
  const Values& found = side.values.predictions;
  const auto known = rows_by_id(expected), rows = rows_by_id(found);
  std::vector<std::size_t> order;
  for (std::size_t row = 0; row < expected.rows.size(); ++row) {
    const auto place = rows.find(id_text(expected.ids[row]));
    if (place == rows.end())
      throw_error<DataError>("{}: no row with idx {}, which {}:{} has", found.file, expected.ids[row].dump(),
                             expected.file, expected.lines[row]);
    order.push_back(place->second);
  }
  for (std::size_t row = 0; row < found.rows.size(); ++row)
    if (!known.contains(id_text(found.ids[row])))
      found.fail(row, "idx {}, which {} does not have", found.ids[row].dump(), expected.file);
  reorder(side.values.predictions, order);
  reorder(side.values.references, order);
  if (!side.values.groups.rows.empty()) reorder(side.values.groups, order);
  check_equal("reference", first.values.references, side.values.references, side.values.predictions);
  check_equal("group", first.values.groups, side.values.groups, side.values.predictions);
}

}  // namespace peft
