#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <bit>
#include <cstring>

#include "peft/base/error.h"
#include "peft/base/json.h"
#include "peft/tensor/safetensors.h"
#include "safetensors_dtype.h"
#include "safetensors_names.h"

namespace peft {

static_assert(std::endian::native == std::endian::little, "safetensors data is little endian and is used in place");

std::string no_such_tensor(const std::filesystem::path& where, const std::string& name,
                           const std::vector<std::string>& known) {
  const std::string near = nearest_name(name, known);
  return fmt::format("{}: no tensor {}{}", where.string(), quoted_name(name),
                     near.empty() ? "" : fmt::format("; did you mean {}?", quoted_name(near)));
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : path_(path), map_(std::make_shared<MappedFile>(path)) {
  SafetensorsHeader header = parse_safetensors_header(map_->text(), path);
  entries_ = std::move(header.entries);
  metadata_ = std::move(header.metadata);
}

at::Tensor SafetensorsFile::tensor(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) throw DataError(no_such_tensor(path_, name, names_of(entries_)));
  const TensorEntry& entry = found->second;
  const auto type = scalar_type(entry.dtype);
  if (!type) {
    throw_error<DataError>("{}: tensor {}: dtype {} is not supported", path_.string(), quoted_name(name), entry.dtype);
  }
  if (entry.begin == entry.end) return at::empty(entry.shape, *type);

  const auto data = map_->bytes().subspan(entry.begin, entry.end - entry.begin);
  if (*type == at::kBool && std::ranges::any_of(data, [](std::byte byte) { return byte > std::byte{1}; })) {
    throw_error<DataError>("{}: tensor {}: BOOL bytes other than 0 and 1", path_.string(), quoted_name(name));
  }
  if (reinterpret_cast<std::uintptr_t>(data.data()) % c10::elementSize(*type) != 0) {
    at::Tensor copy = at::empty(entry.shape, *type);
    std::memcpy(copy.mutable_data_ptr(), data.data(), data.size());
    return copy;
  }
  // from_blob takes no const pointer; the map is read-only, so a write in place stops the program.
  void* start = const_cast<std::byte*>(data.data());
  return at::from_blob(
      start, entry.shape, [map = map_](void*) {}, at::TensorOptions(*type));
}

}  // namespace peft
