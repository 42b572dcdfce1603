#include <algorithm>
#include <stdexcept>

#include "peft/base/error.h"
#include "peft/base/json.h"
#include "peft/base/lower_case.h"
#include "peft/data/lines.h"
#include "peft/data/rows.h"
#include "peft/submission/rows.h"
#include "src/submission/text.h"

namespace peft {
namespace {

namespace fs = std::filesystem;

bool is_folder_of(const SubmissionFile& file, const std::string& lower_name) {
  return std::any_of(file.folders.begin(), file.folders.end(),
                     [&](const std::string& folder) { return lower_case(folder) == lower_name; });
}

std::string folder_name(const fs::path& folder) {
  std::error_code unreadable;
  return lower_case(fs::weakly_canonical(folder, unreadable).filename().string());
}

// The dump's test file in the folder itself, where that is the task's, or in the task's folder inside it.
std::optional<fs::path> find_test_file(const SubmissionFile& file, const fs::path& root) {
  std::error_code unreadable;
  if (!fs::is_directory(root, unreadable)) return std::nullopt;
  std::vector<fs::path> folders;
  for (fs::directory_iterator at(root, unreadable), end; !unreadable && at != end; at.increment(unreadable))
    if (at->is_directory() && is_folder_of(file, lower_case(at->path().filename().string())))
      folders.push_back(at->path());
  std::sort(folders.begin(), folders.end());
  if (is_folder_of(file, folder_name(root))) folders.insert(folders.begin(), root);
  for (const fs::path& folder : folders)
    for (const std::string& name : file.dump_files)
      if (fs::is_regular_file(folder / name, unreadable)) return folder / name;
  return std::nullopt;
}

/// Whole numbers, also the strings of digits that AX-b has.
int64_t index_of(const Json& object, const char* key, const std::string& where) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (!object.is_object() || found == object.end()) throw_error<DataError>("{}: no key {}", where, key);
  if (found->is_number_integer()) return found->get<int64_t>();
  const auto number = found->is_string() ? parse_index(found->get_ref<const std::string&>()) : std::nullopt;
  if (!number) throw_error<DataError>("{}: {} is {}, expected an integer", where, key, shown(*found));
  return *number;
}

const Json& list_of(const Json& object, const char* key, const std::string& where) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (!object.is_object() || found == object.end() || !found->is_array())
    throw_error<DataError>("{}: no list {}", where, key);
  return *found;
}

const Json& passage_of(const Json& record, const std::string& where) {
  const auto found = record.find("passage");
  if (found == record.end() || !found->is_object()) throw_error<DataError>("{}: no object passage", where);
  return *found;
}

void add_unique(int64_t idx, const std::string& where, TestRows& rows, std::set<int64_t>& seen) {
  if (!seen.insert(idx).second) throw_error<DataError>("{}: idx {} occurs a second time", where, idx);
  rows.idx.push_back(idx);
}

void read_questions(const Json& record, int64_t passage, const std::string& where, TestRows& rows) {
  TestRows::Questions& questions = rows.passages[passage];
  for (const Json& question : list_of(passage_of(record, where), "questions", where)) {
    std::set<int64_t>& answers = questions[index_of(question, "idx", where)];
    for (const Json& answer : list_of(question, "answers", where)) answers.insert(index_of(answer, "idx", where));
  }
}

/// Entities are characters start..end, end included, counted in code points.
std::vector<std::string> entities_of(const Json& passage, const std::string& where) {
  const auto text = passage.find("text");
  if (text == passage.end() || !text->is_string()) throw_error<DataError>("{}: passage.text is no string", where);
  const std::string& bytes = text->get_ref<const std::string&>();
  std::vector<std::size_t> starts;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    if ((static_cast<unsigned char>(bytes[i]) & 0xC0) != 0x80) starts.push_back(i);
  starts.push_back(bytes.size());
  std::vector<std::string> entities;
  for (const Json& entity : list_of(passage, "entities", where)) {
    const int64_t start = index_of(entity, "start", where), end = index_of(entity, "end", where);
    if (start < 0 || end < start || end + 1 >= static_cast<int64_t>(starts.size()))
      throw_error<DataError>("{}: entity {} to {}; expected a span inside the passage", where, start, end);
    const std::size_t from = starts[static_cast<std::size_t>(start)], to = starts[static_cast<std::size_t>(end) + 1];
    entities.push_back(bytes.substr(from, to - from));
  }
  return entities;
}

void read_queries(const Json& record, const std::string& where, TestRows& rows, std::set<int64_t>& seen) {
  const std::vector<std::string> entities = entities_of(passage_of(record, where), where);
  for (const Json& query : list_of(record, "qas", where)) {
    const int64_t idx = index_of(query, "idx", where);
    add_unique(idx, where, rows, seen);
    rows.entities[idx] = entities;
  }
}

void read_records(const SubmissionFile& file, const fs::path& path, TestRows& rows) {
  LineReader lines(path);
  std::set<int64_t> seen;
  while (lines.next()) {
    const std::string where = fmt::format("{}:{}", lines.file(), lines.line());
    if (lines.too_long()) throw_error<DataError>("{}: longer than {} bytes", where, default_max_line_bytes);
    if (lines.text().empty() && lines.at_end()) break;
    Json record;
    try {
      record = parse_json(lines.text(), where);
    } catch (const std::invalid_argument& error) {
      throw DataError(error.what());
    }
    if (!record.is_object()) throw_error<DataError>("{}: no object", where);
    if (file.kind == LineKind::json_text) {
      read_queries(record, where, rows, seen);
      continue;
    }
    const int64_t idx = index_of(record, "idx", where);
    add_unique(idx, where, rows, seen);
    if (file.kind == LineKind::json_answers) read_questions(record, idx, where, rows);
  }
}

void read_table(const SubmissionFile& file, const fs::path& path, TestRows& rows) {
  BadRows bad(path.string(), {});
  RowFormat format;
  format.file = FileFormat::glue_tsv;
  const auto reader = open_rows(path, format, {{file.index}}, bad);
  std::set<int64_t> seen;
  Row row;
  while (reader->next(row)) {
    const std::string where = fmt::format("{}:{}", path.string(), row.line);
    const auto idx = parse_index(row.cells[0].text);
    if (!idx)
      throw_error<DataError>("{}: {} is {}, expected an integer", where, file.index, in_quotes(row.cells[0].text));
    add_unique(*idx, where, rows, seen);
  }
}

}  // namespace

DumpRoots dump_roots(const fs::path& data) {
  std::error_code unreadable;
  const fs::path around = data.has_parent_path() ? data.parent_path() : fs::path(".");
  const fs::path folder = fs::is_directory(data, unreadable) ? data : around;
  DumpRoots roots{folder};
  const auto& table = submission_table();
  if (std::any_of(table.begin(), table.end(),
                  [&](const SubmissionFile& file) { return is_folder_of(file, folder_name(folder)); }))
    roots.push_back((folder / "..").lexically_normal());
  return roots;
}

std::optional<TestRows> read_test_rows(const SubmissionFile& file, const fs::path& root) {
  const std::optional<fs::path> path = find_test_file(file, root);
  if (!path) return std::nullopt;
  TestRows rows;
  rows.source = *path;
  if (file.tsv()) {
    read_table(file, *path, rows);
  } else {
    read_records(file, *path, rows);
  }
  if (rows.idx.empty()) throw_error<DataError>("{}: no examples", path->string());
  std::sort(rows.idx.begin(), rows.idx.end());
  return rows;
}

}  // namespace peft
