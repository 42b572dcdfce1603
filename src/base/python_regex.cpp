#include "peft/base/python_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <stdexcept>

namespace peft {
namespace {

std::string message_of(int error) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(error, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

PCRE2_SPTR units(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

}  // namespace

PythonRegex::PythonRegex(std::string_view pattern) {
  const std::string translated = pcre_of_python(pattern);
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  if (context == nullptr) throw std::bad_alloc();
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code =
      pcre2_compile(units(translated), translated.size(), PCRE2_UTF | PCRE2_UCP, &error, &offset, context.get());
  if (code == nullptr) throw std::invalid_argument(message_of(error));
  code_.reset(code, [](const void* held) { pcre2_code_free(static_cast<pcre2_code*>(const_cast<void*>(held))); });
}

bool PythonRegex::run(std::string_view text, uint32_t options) const {
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
      pcre2_match_data_create_from_pattern(code, nullptr), pcre2_match_data_free);
  if (data == nullptr) throw std::bad_alloc();
  const int found = pcre2_match(code, units(text), text.size(), 0, options, data.get(), nullptr);
  if (found < 0 && found != PCRE2_ERROR_NOMATCH) throw std::invalid_argument(message_of(found));
  return found >= 0;
}

bool PythonRegex::match(std::string_view text) const { return run(text, PCRE2_ANCHORED); }
bool PythonRegex::fullmatch(std::string_view text) const { return run(text, PCRE2_ANCHORED | PCRE2_ENDANCHORED); }

}  // namespace peft
