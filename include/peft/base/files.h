#pragma once
/// Files that are complete or absent, read-only maps, and the lock of a run folder.

#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace peft {

/// Read-only map of a whole file. Throws DataError when it cannot be opened (missing, a folder, unreadable).
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Writes a file under a temporary name in the same folder, then fsync, rename, fsync of the folder: after a crash the old or the
/// new content is there, never a mixture. `write` receives a sink for consecutive pieces. Parent folders are created. Throws Error
/// naming the path and the system's reason (disk full, permission); the temporary file is removed then and the old file untouched.
/// A symbolic link keeps naming its file; a device or pipe (/dev/stdout) is written to as it is.
void write_atomic(const std::filesystem::path& path,
                  const std::function<void(const std::function<void(std::span<const std::byte>)>& sink)>& write);
void write_atomic(const std::filesystem::path& path, std::string_view content);

/// Puts the complete folder `fresh` in the place of `target` in one step (exchange, then removal of the old one); both must be on
/// the same file system. fsyncs files and folders first. An absent target is created. Where the file system cannot exchange two
/// names, the old folder is moved aside first: a crash between the two steps leaves it as `.NAME.PID.N.old`. Throws Error.
void replace_folder(const std::filesystem::path& fresh, const std::filesystem::path& target);

/// Exclusive lock of a run folder for the life of the object (flock on `.lock` inside). Throws Error "FOLDER: run folder in use".
class FolderLock {
 public:
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_ = -1;
};

/// Whether something lies there that may be looked at; never throws.
bool path_exists(const std::filesystem::path& path);

/// First 8 names in a folder, for messages: "a, b, c and 4 more"; "nothing" when empty.
std::string describe_folder(const std::filesystem::path& folder);

}  // namespace peft
