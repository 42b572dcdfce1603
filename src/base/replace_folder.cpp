#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "peft/base/error.h"
#include "peft/base/files.h"
#include "src/base/posix_files.h"

namespace fs = std::filesystem;

namespace peft {
namespace {

/// "runs/x/" and "runs/x" name the same folder, but only the second has a name of its own.
fs::path without_trailing_slash(const fs::path& path) { return path.has_filename() ? path : path.parent_path(); }

void sync_tree(const fs::path& folder) {
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_symlink()) sync_path(entry.path());
  }
  sync_path(folder);
}

[[noreturn]] void refuse(const fs::path& target, const std::string& reason) {
  throw_error("{}: cannot replace the folder: {}", target.string(), reason);
}

void remove_tree(const fs::path& folder) {
  std::error_code failure;
  fs::remove_all(folder, failure);
  if (failure) throw_error("{}: cannot remove: {}", folder.string(), failure.message());
}

}  // namespace

void replace_folder_by_renames(const fs::path& fresh, const fs::path& target) {
  fs::path aside;
  for (int i = 0; aside.empty() || fs::exists(fs::symlink_status(aside)); ++i) {
    aside = parent_folder(target) / fmt::format(".{}.{}.{}.old", target.filename().string(), ::getpid(), i);
  }
  if (std::rename(target.c_str(), aside.c_str()) != 0) refuse(target, system_reason());
  if (std::rename(fresh.c_str(), target.c_str()) != 0) {
    const std::string reason = system_reason();
    if (std::rename(aside.c_str(), target.c_str()) != 0) {
      refuse(target, fmt::format("{}; its old content is in {}", reason, aside.string()));
    }
    refuse(target, reason);
  }
  sync_path(parent_folder(target));
  remove_tree(aside);
}

void replace_folder(const fs::path& fresh_path, const fs::path& target_path) {
  const fs::path fresh = without_trailing_slash(fresh_path), target = without_trailing_slash(target_path);
  if (!fs::is_directory(fresh)) refuse(target, fmt::format("{} is not a folder", fresh.string()));
  sync_tree(fresh);
  if (!fs::exists(fs::symlink_status(target))) {
    create_folders(parent_folder(target));
    if (std::rename(fresh.c_str(), target.c_str()) != 0) refuse(target, system_reason());
  } else if (::renameat2(AT_FDCWD, fresh.c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE) == 0) {
    sync_path(parent_folder(target));
    remove_tree(fresh);
  } else if (errno == EINVAL || errno == ENOSYS || errno == ENOTSUP) {  // the file system has no exchange
    replace_folder_by_renames(fresh, target);
  } else {
    refuse(target, system_reason());
  }
  sync_path(parent_folder(target));
  sync_path(parent_folder(fresh));
}

}  // namespace peft
