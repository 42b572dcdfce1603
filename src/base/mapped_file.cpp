#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "peft/base/error.h"
#include "peft/base/files.h"
#include "src/base/posix_files.h"

namespace fs = std::filesystem;

namespace peft {

MappedFile::MappedFile(const fs::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // not to wait for a pipe's writer
  if (!file.valid()) {
    const bool missing = errno == ENOENT;
    const std::string reason = system_reason();
    const fs::path folder = parent_folder(path);
    std::error_code ignored;
    if (missing && fs::is_directory(folder, ignored)) {
      throw_error<DataError>("{}: no such file; {} holds {}", path.string(), folder.string(), describe_folder(folder));
    }
    throw_error<DataError>("{}: cannot open: {}", path.string(), reason);
  }
  struct stat status {};
  if (::fstat(file.number(), &status) != 0)
    throw_error<DataError>("{}: cannot open: {}", path.string(), system_reason());
  if (S_ISDIR(status.st_mode)) throw_error<DataError>("{}: is a folder, expected a file", path.string());
  if (!S_ISREG(status.st_mode))
    throw_error<DataError>("{}: is a pipe or device, expected a regular file", path.string());
  if (status.st_size == 0) return;  // an empty map is an error of mmap

  size_ = static_cast<std::size_t>(status.st_size);
  void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.number(), 0);
  if (mapped == MAP_FAILED) throw_error<DataError>("{}: cannot map: {}", path.string(), system_reason());
  data_ = static_cast<const std::byte*>(mapped);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace peft
