#pragma once
/// The safetensors format: strict reader over a memory map, atomic writer. Single files and sharded model folders.

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "peft/base/files.h"
#include "peft/tensor/safetensors_header.h"

namespace peft {

/// A parsed file. Refused with a DataError naming the file (and the tensor): shorter than its header says, header over 100 MB or not a
/// JSON object, duplicate names, offsets that overlap, leave gaps or run past the end, sizes that do not equal shape times width,
/// unknown dtypes, trailing bytes. Pickle files are recognised by their first bytes and never opened: the error says how to convert.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::map<std::string, TensorEntry>& entries() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::filesystem::path& path() const { return path_; }

  /// A read-only view into the map (the map lives as long as any view); a copy where the data is not aligned to its type. Never
  /// write to it in place: clone first. Throws DataError when there is no such tensor, when its dtype has no tensor type here (F8_*,
  /// F6_*, F4), and for a BOOL byte other than 0 and 1.
  at::Tensor tensor(const std::string& name) const;

 private:
  std::filesystem::path path_;
  std::shared_ptr<MappedFile> map_;
  std::map<std::string, TensorEntry> entries_;
  std::map<std::string, std::string> metadata_;
};

/// The tensors of a model folder: model.safetensors, or else the shards that model.safetensors.index.json lists. The index decides which
/// shard holds a tensor. A missing shard is a DataError, and so is a tensor that its shard does not hold. A folder with only
/// pytorch_model.bin is refused; the error says how to convert.
class ModelTensors {
 public:
  explicit ModelTensors(const std::filesystem::path& folder);
  std::vector<std::string> names() const;  ///< sorted
  bool contains(const std::string& name) const { return where_.contains(name); }
  at::Tensor tensor(const std::string& name) const;
  const TensorEntry& entry(const std::string& name) const;
  const SafetensorsFile& file_of(const std::string& name) const;  ///< the file that holds a tensor
  const std::vector<SafetensorsFile>& files() const { return files_; }

 private:
  std::filesystem::path folder_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, std::size_t> where_;
};

/// Writes contiguous copies on the CPU, metadata {"format":"pt"} merged with `metadata` (whose keys win), the header padded with spaces
/// to a multiple of 8; write_atomic underneath, so the file is complete or absent. Tensors lie in the order of the reference
/// implementation, widest type first, then by name: every tensor is aligned to its type, and a file of one type is sorted by name.
/// Throws Error for an undefined or sparse tensor, a dtype outside the format, a name that is not UTF-8 or is "__metadata__".
void write_safetensors(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace peft
