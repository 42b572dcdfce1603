#pragma once
/// The few system calls that the file functions share, with errors as Error `PATH: cannot ...: REASON`.

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

namespace peft {

/// Closes itself.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor();
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int number() const { return number_; }
  bool valid() const { return number_ >= 0; }
  int release();           ///< the caller closes it
  void reset(int number);  ///< takes over another open descriptor
  bool close();            ///< false, with errno, when the system reports a late write error

 private:
  int number_;
};

/// Text of errno, with the calling thread's value.
std::string system_reason();

/// Writes everything, or throws naming `path`.
void write_fully(int descriptor, std::span<const std::byte> bytes, const std::filesystem::path& path);

/// fsync of a file or a folder. Folders of file systems that cannot do it are passed over.
void sync_path(const std::filesystem::path& path);

/// Creates the folder with its parents; the new entries are on disk afterwards.
void create_folders(const std::filesystem::path& folder);

/// The folder that holds `path`: "." for a bare name.
std::filesystem::path parent_folder(const std::filesystem::path& path);

/// replace_folder where the file system cannot exchange two names: the old folder is moved aside, and back when the second step fails.
void replace_folder_by_renames(const std::filesystem::path& fresh, const std::filesystem::path& target);

}  // namespace peft
