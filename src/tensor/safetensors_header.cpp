#include "peft/tensor/safetensors_header.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "peft/base/error.h"
#include "peft/base/json.h"

namespace peft {
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr std::string_view kMetadataKey = "__metadata__";

struct DtypeBits {
  std::string_view name;
  int bits;
};

constexpr std::array kDtypes = {
    DtypeBits{"BOOL", 8},        DtypeBits{"U8", 8},         DtypeBits{"I8", 8},      DtypeBits{"U16", 16},
    DtypeBits{"I16", 16},        DtypeBits{"U32", 32},       DtypeBits{"I32", 32},    DtypeBits{"U64", 64},
    DtypeBits{"I64", 64},        DtypeBits{"F16", 16},       DtypeBits{"BF16", 16},   DtypeBits{"F32", 32},
    DtypeBits{"F64", 64},        DtypeBits{"C64", 64},       DtypeBits{"F4", 4},      DtypeBits{"F6_E2M3", 6},
    DtypeBits{"F6_E3M2", 6},     DtypeBits{"F8_E4M3", 8},    DtypeBits{"F8_E5M2", 8}, DtypeBits{"F8_E8M0", 8},
    DtypeBits{"F8_E4M3FNUZ", 8}, DtypeBits{"F8_E5M2FNUZ", 8}};

// The zip container of torch.save, or a bare pickle of protocol 2 to 5. The first bytes of a safetensors file are a
// length and can be the same (a header of 640 bytes starts with 80 02), but then the ninth byte opens the header's
// object.
bool looks_like_pickle(std::string_view file) {
  const bool zip = file.starts_with("PK\x03\x04");
  const bool pickle = file.size() >= 2 && file[0] == '\x80' && file[1] >= 2 && file[1] <= 5;
  return (zip || pickle) && !(file.size() > kLengthBytes && file[kLengthBytes] == '{');
}

std::string shell_quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return quoted + "'";
}

// Number of values; nothing when the product overflows with zeros taken as ones: LibTorch computes strides that way.
std::optional<uint64_t> checked_product(const std::vector<int64_t>& shape) {
  int64_t product = 1;
  for (const int64_t size : shape) {
    if (__builtin_mul_overflow(product, std::max<int64_t>(size, 1), &product)) return std::nullopt;
  }
  return std::ranges::count(shape, 0) > 0 ? 0 : static_cast<uint64_t>(product);
}

class Parser {
 public:
  Parser(std::string_view file, const std::filesystem::path& path) : file_(file), path_(path) {}

  SafetensorsHeader parse() {
    const Json object = read_object();
    SafetensorsHeader header;
    for (const auto& [name, value] : object.items()) {
      if (name == kMetadataKey) {
        header.metadata = metadata(value);
      } else {
        header.entries.emplace(name, entry(name, value));
      }
    }
    check_layout(header.entries);
    return header;
  }

 private:
  template <class... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    throw_error<DataError>("{}: {}", path_.string(), fmt::format(format, std::forward<Args>(args)...));
  }

  Json read_object() {
    if (looks_like_pickle(file_))
      fail("{}", pickle_advice(path_, std::filesystem::path(path_).replace_extension(".safetensors")));
    if (file_.size() < kLengthBytes)
      fail("{} bytes, expected at least the {} of a safetensors header length", file_.size(), kLengthBytes);
    uint64_t length = 0;
    std::memcpy(&length, file_.data(), sizeof length);
    const uint64_t rest = file_.size() - kLengthBytes;
    if (length > kSafetensorsMaxHeaderBytes) {
      fail("not a safetensors file: a header of {} bytes, expected at most {}", length, kSafetensorsMaxHeaderBytes);
    }
    if (length > rest) fail("cut short: a header of {} bytes, but only {} follow its length", length, rest);
    const std::string_view text = file_.substr(kLengthBytes, length);
    if (!text.starts_with('{')) fail("not a safetensors file: the header is not a JSON object");
    data_begin_ = kLengthBytes + length;
    try {
      return parse_json(text, path_.string() + ": header");
    } catch (const std::invalid_argument& e) {
      throw DataError(e.what());
    }
  }

  std::map<std::string, std::string> metadata(const Json& value) const {
    if (!value.is_object()) fail("{}: {}, expected an object of strings", kMetadataKey, value.type_name());
    std::map<std::string, std::string> strings;
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string())
        fail("{}: key {} holds a {}, expected a string", kMetadataKey, quoted_name(key), text.type_name());
      strings.emplace(key, text.get<std::string>());
    }
    return strings;
  }

  TensorEntry entry(const std::string& name, const Json& value) const {
    const std::string label = "tensor " + quoted_name(name);
    if (!value.is_object()) fail("{}: {}, expected an object", label, value.type_name());
    for (const auto& [key, unused] : value.items()) {
      if (key != "dtype" && key != "shape" && key != "data_offsets") {
        fail("{}: unknown key {}, expected dtype, shape, data_offsets", label, quoted_name(key));
      }
    }
    for (const char* key : {"dtype", "shape", "data_offsets"}) {
      if (!value.contains(key)) fail("{}: no {}", label, key);
    }
    TensorEntry result;
    const Json& dtype = value["dtype"];
    if (!dtype.is_string()) fail("{}: dtype is a {}, expected a string", label, dtype.type_name());
    result.dtype = dtype.get<std::string>();
    result.shape = shape(label, value["shape"]);
    const auto [begin, end] = data_offsets(label, value["data_offsets"]);
    const uint64_t bytes = byte_count(label, result);
    if (end - begin != bytes) {
      fail("{}: {} bytes, but shape {} of {} takes {}", label, end - begin, value["shape"].dump(), result.dtype, bytes);
    }
    result.begin = data_begin_ + begin;
    result.end = data_begin_ + end;
    return result;
  }

  std::vector<int64_t> shape(const std::string& label, const Json& value) const {
    if (!value.is_array()) fail("{}: shape is a {}, expected a list", label, value.type_name());
    std::vector<int64_t> sizes;
    for (const Json& size : value) {
      const auto number = whole(size, std::numeric_limits<int64_t>::max());
      if (!number) fail("{}: shape {}, expected whole numbers of at least 0", label, value.dump());
      sizes.push_back(static_cast<int64_t>(*number));
    }
    return sizes;
  }

  std::pair<uint64_t, uint64_t> data_offsets(const std::string& label, const Json& value) const {
    const auto number = [&](std::size_t i) { return whole(value[i], std::numeric_limits<uint64_t>::max()); };
    if (!value.is_array() || value.size() != 2 || !number(0) || !number(1) || *number(0) > *number(1)) {
      fail("{}: data_offsets {}, expected [begin, end]", label, value.dump());
    }
    const uint64_t data_bytes = file_.size() - data_begin_;
    if (*number(1) > data_bytes) {
      fail("{}: ends at data byte {}, but the file holds {}: cut short or damaged", label, *number(1), data_bytes);
    }
    return {*number(0), *number(1)};
  }

  uint64_t byte_count(const std::string& label, const TensorEntry& entry) const {
    const int width = safetensors_dtype_bits(entry.dtype);
    if (width == 0) fail("{}: unknown dtype {}", label, quoted_name(entry.dtype));
    const auto count = checked_product(entry.shape);
    uint64_t bits = 0;
    if (!count || __builtin_mul_overflow(*count, static_cast<uint64_t>(width), &bits)) {
      fail("{}: shape [{}] overflows 64 bits", label, fmt::join(entry.shape, ","));
    }
    if (bits % 8 != 0) {
      fail("{}: shape [{}] of {} is not a whole number of bytes", label, fmt::join(entry.shape, ","), entry.dtype);
    }
    return bits / 8;
  }

  // A JSON number without sign and fraction, at most `limit`.
  static std::optional<uint64_t> whole(const Json& value, uint64_t limit) {
    if (!value.is_number_unsigned() || value.get<uint64_t>() > limit) return std::nullopt;
    return value.get<uint64_t>();
  }

  void check_layout(const std::map<std::string, TensorEntry>& entries) const {
    std::vector<const std::pair<const std::string, TensorEntry>*> order;
    order.reserve(entries.size());
    for (const auto& item : entries) order.push_back(&item);
    std::ranges::sort(order, {}, [](const auto* item) { return std::pair(item->second.begin, item->second.end); });

    uint64_t end = data_begin_;
    const std::string* previous = nullptr;
    for (const auto* item : order) {
      const auto& [name, here] = *item;
      if (here.begin > end) {
        fail("tensor {}: {} unused bytes before data byte {}", quoted_name(name), here.begin - end,
             here.begin - data_begin_);
      }
      if (here.begin < end) {
        fail("tensor {}: begins at data byte {}, inside tensor {}, which ends at {}", quoted_name(name),
             here.begin - data_begin_, quoted_name(*previous), end - data_begin_);
      }
      end = here.end;
      previous = &name;
    }
    if (end != file_.size()) fail("{} bytes after the last tensor", file_.size() - end);
  }

  std::string_view file_;
  const std::filesystem::path& path_;
  uint64_t data_begin_ = 0;
};

}  // namespace

uint64_t TensorEntry::numel() const {
  uint64_t product = 1;
  for (const int64_t size : shape) product *= static_cast<uint64_t>(size);
  return product;
}

int safetensors_dtype_bits(std::string_view dtype) {
  const auto found = std::ranges::find(kDtypes, dtype, &DtypeBits::name);
  return found == kDtypes.end() ? 0 : found->bits;
}

SafetensorsHeader parse_safetensors_header(std::string_view file, const std::filesystem::path& path) {
  return Parser(file, path).parse();
}

std::string pickle_advice(const std::filesystem::path& pickles, const std::filesystem::path& target) {
  const std::string name = pickles.filename().string();
  const bool pattern = name.find('*') != std::string::npos;
  const std::string source =
      pattern ? shell_quoted((pickles.parent_path() / "").string()) + name : shell_quoted(pickles.string());
  return fmt::format(
      "pickle files are not opened; convert with: python -c \"import sys, torch; from safetensors.torch import "
      "save_file; "
      "save_file({{k: v.contiguous().clone() for f in sys.argv[2:] for k, v in torch.load(f, map_location='cpu', "
      "weights_only=True).items()}}, sys.argv[1], {{'format': 'pt'}})\" {} {}",
      shell_quoted(target.string()), source);
}

std::string quoted_name(std::string_view name) {
  return Json(name).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace peft
