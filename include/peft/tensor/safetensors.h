#pragma once
/// The safetensors format: strict reader over a memory map, atomic writer. Single files and sharded model folders.

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "peft/base/files.h"

namespace peft {

/// One tensor's entry in a header.
struct TensorEntry {
  std::string dtype;            ///< as spelled in the file: F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL ...
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  ///< bytes from the start of the file
};

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
  /// write to it in place: clone first. Throws DataError when there is no such tensor.
  at::Tensor tensor(const std::string& name) const;

 private:
  std::filesystem::path path_;
  std::shared_ptr<MappedFile> map_;
  std::map<std::string, TensorEntry> entries_;
  std::map<std::string, std::string> metadata_;
};

/// The tensors of a model folder: model.safetensors, or the shards that model.safetensors.index.json lists (the map is authoritative;
/// a listed tensor missing from its shard, or a missing shard, is a DataError). A folder with only pytorch_model.bin is refused with
/// the advice how to convert.
class ModelTensors {
 public:
  explicit ModelTensors(const std::filesystem::path& folder);
  std::vector<std::string> names() const;  ///< sorted
  bool contains(const std::string& name) const { return where_.contains(name); }
  at::Tensor tensor(const std::string& name) const;
  const TensorEntry& entry(const std::string& name) const;
  const std::vector<SafetensorsFile>& files() const { return files_; }

 private:
  std::filesystem::path folder_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, std::size_t> where_;
};

/// Writes contiguous copies on the CPU, sorted by name, metadata {"format":"pt"} merged with `metadata`, the header padded with spaces
/// to a multiple of 8; write_atomic underneath, so the file is complete or absent.
void write_safetensors(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace peft
