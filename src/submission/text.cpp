#include "src/submission/text.h"

#include <algorithm>
#include <charconv>

namespace peft {
namespace {

constexpr std::size_t longest_quote = 60;

}  // namespace

std::optional<int64_t> parse_index(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  return whole && std::to_string(value) == text ? std::optional(value) : std::nullopt;
}

std::string in_quotes(std::string_view text) {
  std::size_t end = std::min(text.size(), longest_quote);
  while (end < text.size() && end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  const std::string shown = std::string(text.substr(0, end)) + (end < text.size() ? "..." : "");
  return Json(shown).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string shown(const Json& value) {
  return value.is_string() ? in_quotes(value.get_ref<const std::string&>()) : value.dump().substr(0, longest_quote);
}

}  // namespace peft
