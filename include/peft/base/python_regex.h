#pragma once
/// Regular expressions as Python's `re` reads them, for patterns that peft's files hold.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace peft {

/// Compiled by PCRE2 from the spelling that means the same there. What Python refuses and PCRE2 would read in its own way is refused:
/// unknown escapes, `(?<name>...)`, flags inside the expression. `\d`, `\w`, `\s` and `\b` know Unicode, as those of Python's strings do.
/// Not supported: `\N{...}` and the flags `a` and `L`.
class PythonRegex {
 public:
  /// Throws std::invalid_argument with the reason.
  explicit PythonRegex(std::string_view pattern);

  bool match(std::string_view text) const;      ///< from the start of the text, as re.match
  bool fullmatch(std::string_view text) const;  ///< the whole text, as re.fullmatch; both throw std::invalid_argument
                                                ///< when an expression takes too many steps

 private:
  bool run(std::string_view text, uint32_t options) const;

  std::shared_ptr<const void> code_;
};

/// The spelling of a Python expression that PCRE2 reads alike. Throws std::invalid_argument.
std::string pcre_of_python(std::string_view pattern);

}  // namespace peft
