#include "peft/submission/zip.h"

#include <zip.h>

#include <algorithm>
#include <memory>
#include <set>

#include "peft/base/error.h"
#include "src/submission/findings.h"
#include "src/submission/text.h"

namespace peft {
namespace {

constexpr zip_uint16_t noon = 12 << 11, first_of_1980 = (1 << 5) | 1;  // the format's first day; its noon is no DST gap
constexpr zip_uint32_t regular_file = 0100644U << 16;
constexpr std::size_t block = 1 << 16;

[[noreturn]] void throw_making(zip_t* archive) { throw_error("submission.zip: {}", zip_strerror(archive)); }

std::string describe(zip_error_t& error) {
  std::string text = zip_error_strerror(&error);
  zip_error_fini(&error);
  return text;
}

struct CloseFile {
  void operator()(zip_file_t* file) const { zip_fclose(file); }
};
struct Discard {
  void operator()(zip_t* archive) const { zip_discard(archive); }
};

std::string bytes_of(zip_source_t* source) {
  zip_stat_t stat;
  if (zip_source_stat(source, &stat) != 0 || zip_source_open(source) != 0)
    throw_error("submission.zip: {}", zip_error_strerror(zip_source_error(source)));
  std::string bytes(stat.size, '\0');
  const zip_int64_t read = zip_source_read(source, bytes.data(), bytes.size());
  zip_source_close(source);
  if (read != static_cast<zip_int64_t>(bytes.size())) throw_error("submission.zip: cannot be read back");
  return bytes;
}

/// Whether a member has the name of a file at the top level, and no other has it.
bool check_name(const std::string& name, std::set<std::string>& names, Findings& problems) {
  if (name.ends_with('/')) {
    problems.add("folder", 0, fmt::format("the folder {}; expected files alone", in_quotes(name)));
  } else if (name.find('/') != std::string::npos || name.find('\\') != std::string::npos) {
    problems.add("path", 0, fmt::format("the path {}; expected names without folders", in_quotes(name)));
  } else if (name.empty() || name == "." || name == "..") {
    problems.add("name", 0, fmt::format("the name {}; expected a file's", in_quotes(name)));
  } else if (!names.insert(name).second) {
    problems.add("twice", 0, fmt::format("the name {} occurs twice; expected it once", in_quotes(name)));
  } else {
    return true;
  }
  return false;
}

std::string read_member(zip_t* archive, zip_uint64_t number, const std::string& where, std::size_t room,
                        const ZipLimits& limits) {
  const std::unique_ptr<zip_file_t, CloseFile> file(zip_fopen_index(archive, number, 0));
  if (!file) throw_error<DataError>("{}: {}", where, zip_strerror(archive));
  std::string content;
  while (true) {
    const std::size_t had = content.size();
    content.resize(had + block);
    const zip_int64_t read = zip_fread(file.get(), content.data() + had, block);
    if (read < 0) throw_error<DataError>("{}: {}", where, zip_error_strerror(zip_file_get_error(file.get())));
    content.resize(had + static_cast<std::size_t>(read));
    if (read == 0) return content;
    if (content.size() > room)
      throw_error<DataError>("{}: the archive unpacks to more than {} bytes; expected less", where, limits.bytes);
  }
}

}  // namespace

std::string zip_bytes(NamedFiles files) {
  std::sort(files.begin(), files.end());
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* target = zip_source_buffer_create(nullptr, 0, 0, &error);
  if (target == nullptr) throw_error("submission.zip: {}", describe(error));
  zip_source_keep(target);  // the archive's own reference goes when it is closed
  const std::unique_ptr<zip_source_t, decltype(&zip_source_free)> keep(target, zip_source_free);
  std::unique_ptr<zip_t, Discard> archive(zip_open_from_source(target, ZIP_TRUNCATE, &error));
  if (!archive) {
    zip_source_free(target);
    throw_error("submission.zip: {}", describe(error));
  }
  for (const auto& [name, content] : files) {
    zip_source_t* source = zip_source_buffer(archive.get(), content.data(), content.size(), 0);
    const zip_int64_t number = source == nullptr ? -1 : zip_file_add(archive.get(), name.c_str(), source, 0);
    if (number < 0) {
      zip_source_free(source);
      throw_making(archive.get());
    }
    const auto index = static_cast<zip_uint64_t>(number);
    if (zip_set_file_compression(archive.get(), index, ZIP_CM_DEFLATE, 9) != 0 ||
        zip_file_set_dostime(archive.get(), index, noon, first_of_1980, 0) != 0 ||
        zip_file_set_external_attributes(archive.get(), index, 0, ZIP_OPSYS_UNIX, regular_file) != 0)
      throw_making(archive.get());
  }
  if (zip_close(archive.get()) != 0) throw_making(archive.get());
  static_cast<void>(archive.release());  // closed, and gone with it
  return bytes_of(target);
}

ZipContent read_zip(const std::filesystem::path& path, const ZipLimits& limits) {
  int code = 0;
  const std::unique_ptr<zip_t, Discard> archive(zip_open(path.c_str(), ZIP_RDONLY, &code));
  if (!archive) {
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    throw_error<DataError>("{}: {}; expected a zip archive", path.string(), describe(error));
  }
  const auto members = static_cast<zip_uint64_t>(zip_get_num_entries(archive.get(), 0));
  if (members > limits.members)
    throw_error<DataError>("{}: {} members; expected at most {}", path.string(), members, limits.members);
  ZipContent content;
  Findings problems(path.string());
  std::set<std::string> names;
  std::size_t total = 0;
  for (zip_uint64_t i = 0; i < members; ++i) {
    const char* raw = zip_get_name(archive.get(), i, ZIP_FL_ENC_RAW);
    if (raw == nullptr) throw_error<DataError>("{}: {}", path.string(), zip_strerror(archive.get()));
    const std::string name = raw;
    if (!check_name(name, names, problems)) continue;
    std::string bytes = read_member(archive.get(), i, path.string() + "/" + name, limits.bytes - total, limits);
    total += bytes.size();
    content.files.emplace_back(name, std::move(bytes));
  }
  content.problems = problems.lines();
  return content;
}

}  // namespace peft
