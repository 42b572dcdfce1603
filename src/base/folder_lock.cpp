#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <vector>

#include "peft/base/error.h"
#include "peft/base/files.h"
#include "src/base/posix_files.h"

namespace fs = std::filesystem;

namespace peft {
namespace {

constexpr std::size_t names_described = 8;

}  // namespace

FolderLock::FolderLock(const fs::path& folder) {
  create_folders(folder);
  // The file stays behind: removing it would let a third process lock a new file while a second holds the old one.
  const fs::path path = folder / ".lock";
  Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (!file.valid()) throw_error("{}: cannot open: {}", path.string(), system_reason());
  if (::flock(file.number(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) throw_error("{}: run folder in use", folder.string());
    throw_error("{}: cannot lock: {}", path.string(), system_reason());
  }
  descriptor_ = file.release();
}

FolderLock::~FolderLock() { ::close(descriptor_); }

bool path_exists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

std::string describe_folder(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code unreadable;
  for (fs::directory_iterator at(folder, unreadable), end; !unreadable && at != end; at.increment(unreadable)) {
    names.push_back(at->path().filename().string());
  }
  if (names.empty()) return "nothing";
  std::sort(names.begin(), names.end());
  const std::size_t described = std::min(names.size(), names_described);
  std::string out;
  for (std::size_t i = 0; i < described; ++i) out += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > described) out += fmt::format(" and {} more", names.size() - described);
  return out;
}

}  // namespace peft
