#pragma once
/// Is this UTF-8?

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace peft {

/// Offset of the first byte that starts no valid character: stray or missing continuation bytes, overlong forms, surrogates,
/// values above U+10FFFF. Empty when all of `text` is UTF-8. NUL is a character here.
std::optional<std::size_t> find_invalid_utf8(std::string_view text);

/// `byte 17: invalid UTF-8 (0xff)`, counted from 1.
std::string describe_invalid_utf8(std::string_view text, std::size_t offset);

}  // namespace peft
