#include "src/base/posix_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include "peft/base/error.h"

namespace fs = std::filesystem;

namespace peft {

Descriptor::~Descriptor() {
  if (valid()) ::close(number_);
}

void Descriptor::reset(int number) {
  if (valid()) ::close(number_);
  number_ = number;
}

int Descriptor::release() { return std::exchange(number_, -1); }

bool Descriptor::close() { return ::close(release()) == 0; }

std::string system_reason() { return std::generic_category().message(errno); }

void write_fully(int descriptor, std::span<const std::byte> bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      throw_error("{}: cannot write: {}", path.string(), system_reason());
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void sync_path(const fs::path& path) {
  const Descriptor opened(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!opened.valid()) throw_error("{}: cannot open to sync: {}", path.string(), system_reason());
  if (::fsync(opened.number()) != 0 && errno != EINVAL && errno != ENOTSUP) {
    throw_error("{}: cannot sync: {}", path.string(), system_reason());
  }
}

void create_folders(const fs::path& folder) {
  std::vector<fs::path> changed;  // folders that get a new entry
  std::error_code status;
  for (fs::path at = folder; !at.empty() && !fs::exists(at, status); at = at.parent_path())
    changed.push_back(parent_folder(at));
  if (changed.empty()) return;
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (failure) throw_error("{}: cannot create the folder: {}", folder.string(), failure.message());
  for (const fs::path& parent : changed) sync_path(parent);
}

fs::path parent_folder(const fs::path& path) {
  const fs::path parent = path.parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

}  // namespace peft
