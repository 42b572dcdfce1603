#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "peft/base/error.h"
#include "peft/base/files.h"
#include "src/base/posix_files.h"

namespace fs = std::filesystem;

namespace peft {
namespace {

using Sink = std::function<void(std::span<const std::byte>)>;

constexpr mode_t usual_mode = 0666;  // less the umask
constexpr std::size_t longest_name_kept = 100;

/// A new file of its own beside `path`, removed unless it is renamed.
class TemporaryFile {
 public:
  explicit TemporaryFile(const fs::path& path) : file_(-1) {
    static std::atomic<unsigned> counter = 0;
    const std::string name = path.filename().string().substr(0, longest_name_kept);
    while (!file_.valid()) {
      path_ = parent_folder(path) / fmt::format(".{}.{}.{}.tmp", name, ::getpid(), counter++);
      Descriptor made(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, usual_mode));
      if (made.valid()) {
        file_.reset(made.release());
      } else if (errno != EEXIST) {
        throw_error("{}: cannot write: {}", path.string(), system_reason());
      }
    }
  }
  ~TemporaryFile() {
    if (!renamed_) ::unlink(path_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  int number() const { return file_.number(); }

  void rename_to(const fs::path& path) {
    if (::fsync(file_.number()) != 0 || !file_.close() || std::rename(path_.c_str(), path.c_str()) != 0) {
      throw_error("{}: cannot write: {}", path.string(), system_reason());
    }
    renamed_ = true;
  }

 private:
  Descriptor file_;
  fs::path path_;
  bool renamed_ = false;
};

}  // namespace

void write_atomic(const fs::path& path, const std::function<void(const Sink& sink)>& write) {
  std::error_code failure;
  const fs::file_status status = fs::status(path, failure);
  if (fs::is_directory(status)) throw_error("{}: cannot write: is a folder", path.string());

  // A device or pipe (/dev/stdout) has no old content to keep, and a rename would replace the device itself.
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    const Descriptor device(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!device.valid()) throw_error("{}: cannot write: {}", path.string(), system_reason());
    write([&](std::span<const std::byte> bytes) { write_fully(device.number(), bytes, path); });
    return;
  }

  // Through a symbolic link the file it names is replaced, not the link.
  const fs::path file = fs::exists(status) ? fs::canonical(path) : path;
  create_folders(parent_folder(file));
  TemporaryFile temporary(file);
  write([&](std::span<const std::byte> bytes) { write_fully(temporary.number(), bytes, path); });
  temporary.rename_to(file);
  sync_path(parent_folder(file));
}

void write_atomic(const fs::path& path, std::string_view content) {
  write_atomic(path, [&](const Sink& sink) { sink(std::as_bytes(std::span(content.data(), content.size()))); });
}

}  // namespace peft
