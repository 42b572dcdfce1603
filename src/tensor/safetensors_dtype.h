#pragma once
/// The dtypes that safetensors files and LibTorch share, in the order in which the reference writer sorts them (descending there).

#include <c10/core/ScalarType.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

namespace peft {

struct SharedDtype {
  std::string_view name;
  c10::ScalarType type;
};

inline constexpr std::array kSharedDtypes = {
    SharedDtype{"BOOL", c10::ScalarType::Bool},        SharedDtype{"U8", c10::ScalarType::Byte},
    SharedDtype{"I8", c10::ScalarType::Char},          SharedDtype{"I16", c10::ScalarType::Short},
    SharedDtype{"U16", c10::ScalarType::UInt16},       SharedDtype{"F16", c10::ScalarType::Half},
    SharedDtype{"BF16", c10::ScalarType::BFloat16},    SharedDtype{"I32", c10::ScalarType::Int},
    SharedDtype{"U32", c10::ScalarType::UInt32},       SharedDtype{"F32", c10::ScalarType::Float},
    SharedDtype{"C64", c10::ScalarType::ComplexFloat}, SharedDtype{"F64", c10::ScalarType::Double},
    SharedDtype{"I64", c10::ScalarType::Long},         SharedDtype{"U64", c10::ScalarType::UInt64}};

inline std::optional<c10::ScalarType> scalar_type(std::string_view name) {
  const auto* found = std::ranges::find(kSharedDtypes, name, &SharedDtype::name);
  return found == kSharedDtypes.end() ? std::nullopt : std::optional(found->type);
}

/// Position in kSharedDtypes, or nothing for a type outside the format.
inline std::optional<std::size_t> dtype_rank(c10::ScalarType type) {
  const auto* found = std::ranges::find(kSharedDtypes, type, &SharedDtype::type);
  return found == kSharedDtypes.end() ? std::nullopt : std::optional<std::size_t>(found - kSharedDtypes.begin());
}

}  // namespace peft
