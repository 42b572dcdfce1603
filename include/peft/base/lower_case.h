#pragma once

#include <string>

namespace peft {

/// A to Z as a to z; all other bytes stay, so that the names of files and labels keep their UTF-8.
inline std::string lower_case(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

}  // namespace peft
