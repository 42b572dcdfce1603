#include "src/apps/tool_list.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "peft/base/error.h"
#include "peft/base/summaries.h"
#include "peft/data/task.h"
#include "peft/metrics/metrics.h"
#include "src/apps/main.h"

namespace peft {
namespace {

namespace fs = std::filesystem;

struct Entry {
  std::string name, text;
};

const std::vector<std::string> kKinds{"methods", "tasks", "metrics", "architectures", "configs"};

std::vector<Entry> summarised(const std::string& kind) {
  std::vector<Entry> entries;
  for (const std::string& name : summaries(kind).names()) {
    const Summary& summary = summaries(kind).at(name);
    entries.push_back({name, summary.text + (summary.paper.empty() ? "" : fmt::format(" [arXiv {}]", summary.paper))});
  }
  return entries;
}

std::vector<Entry> tasks() {
  std::vector<Entry> entries = summarised("task");
  for (auto& [name, text] : entries) {
    const TaskSpec& task = task_registry().at(name);
    text += fmt::format(" [{}; {}]", task.objective, fmt::join(task.metrics, ", "));
  }
  return entries;
}

std::vector<Entry> metrics() {
  std::vector<Entry> entries = summarised("metric");
  for (auto& [name, text] : entries) text += lower_is_better(name) ? " [lower is better]" : "";
  return entries;
}

/// The comment that a config begins with.
std::string first_comment(const fs::path& file) {
  std::ifstream stream(file);
  std::string line;
  std::getline(stream, line);
  return line.starts_with("//") ? line.substr(std::min(line.find_first_not_of("/ "), line.size())) : "";
}

/// configs/ of the current folder, else of a checkout or installation that this program lies in.
fs::path configs_folder() {
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const fs::path& folder : {fs::path("configs"), program / "configs", program.parent_path() / "configs",
                                 program.parent_path().parent_path() / "configs"}) {
    if (fs::is_directory(folder, ignored)) return folder;
  }
  throw DataError("configs: no such folder here, nor beside the program");
}

std::vector<Entry> configs() {
  std::vector<Entry> entries;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(configs_folder())) {
    if (entry.path().extension() == ".json") entries.push_back({entry.path().string(), first_comment(entry.path())});
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.name < b.name; });
  return entries;
}

std::vector<Entry> entries_of(const std::string& kind) {
  if (kind == "tasks") return tasks();
  if (kind == "metrics") return metrics();
  if (kind == "configs") return configs();
  return summarised(kind == "methods" ? "method" : "architecture");
}

}  // namespace

int tool_list(int argc, char** argv) {
  cxxopts::Options options("peft-tool list", "What there is, a line each");
  std::string kind;
  options.add_options()("kind", fmt::format("{}", fmt::join(kKinds, ", ")), cxxopts::value(kind), "KIND");
  options.parse_positional("kind");
  options.positional_help("KIND");
  const auto parsed = parse_command_line(options, argc, argv, {"peft-tool list methods", "peft-tool list configs"});
  if (!parsed) return static_cast<int>(ExitCode::done);
  if (parsed->count("kind") != 1)
    throw_error<ConfigError>("peft-tool list: one KIND expected (known: {})", fmt::join(kKinds, ", "));
  if (std::find(kKinds.begin(), kKinds.end(), kind) == kKinds.end()) {
    const std::string near = nearest_name(kind, kKinds);
    throw_error<ConfigError>("peft-tool list: unknown kind \"{}\"{} (known: {})", kind,
                             near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near), fmt::join(kKinds, ", "));
  }
  const std::vector<Entry> entries = entries_of(kind);
  std::size_t widest = 0;
  for (const Entry& entry : entries) widest = std::max(widest, entry.name.size());
  std::string text;
  for (const auto& [name, about] : entries)
    text += about.empty() ? name + "\n" : fmt::format("{:<{}}  {}\n", name, widest, about);
  print_result(text);
  return static_cast<int>(ExitCode::done);
}

}  // namespace peft
