#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "peft/base/error.h"
#include "peft/tensor/safetensors.h"
#include "safetensors_dtype.h"

namespace peft {
namespace {

using OrderedJson = nlohmann::ordered_json;

struct Item {
  const std::string* name;
  const at::Tensor* tensor;
  std::size_t rank;  ///< of the dtype
};

std::vector<Item> in_file_order(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors) {
  std::vector<Item> items;
  for (const auto& [name, tensor] : tensors) {
    const auto fail = [&, &label = name](const std::string& reason) {
      throw_error("{}: cannot write tensor {}: {}", path.string(), quoted_name(label), reason);
    };
    if (name == "__metadata__") fail("the name is reserved");
    if (!tensor.defined()) fail("undefined");
    if (tensor.layout() != at::kStrided) fail("not a dense tensor");
    const auto rank = dtype_rank(tensor.scalar_type());
    if (!rank) fail(fmt::format("safetensors has no dtype {}", c10::toString(tensor.scalar_type())));
    items.push_back({&name, &tensor, *rank});
  }
  std::ranges::stable_sort(items, std::greater(), &Item::rank);  // the map has sorted the names
  return items;
}

std::string header_text(const std::filesystem::path& path, const std::vector<Item>& items,
                        std::map<std::string, std::string> metadata) {
  metadata.emplace("format", "pt");
  OrderedJson header;
  header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const Item& item : items) {
    const uint64_t end = offset + item.tensor->nbytes();
    OrderedJson& entry = header[*item.name];
    entry["dtype"] = kSharedDtypes[item.rank].name;
    entry["shape"] = item.tensor->sizes().vec();
    entry["data_offsets"] = {offset, end};
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const OrderedJson::exception&) {
    throw_error("{}: cannot write: a tensor name or metadata string is not UTF-8", path.string());
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (text.size() > kSafetensorsMaxHeaderBytes) {
    throw_error("{}: cannot write: a header of {} bytes, at most {} are allowed", path.string(), text.size(),
                kSafetensorsMaxHeaderBytes);
  }
  return text;
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  const std::vector<Item> items = in_file_order(path, tensors);
  const std::string header = header_text(path, items, metadata);
  const uint64_t length = header.size();
  write_atomic(path, [&](const std::function<void(std::span<const std::byte>)>& sink) {
    sink(std::as_bytes(std::span(&length, 1)));
    sink(std::as_bytes(std::span(header)));
    for (const Item& item : items) {
      const at::Tensor plain = item.tensor->detach().resolve_conj().resolve_neg().cpu().contiguous();
      sink({static_cast<const std::byte*>(plain.const_data_ptr()), plain.nbytes()});
    }
  });
}

}  // namespace peft
