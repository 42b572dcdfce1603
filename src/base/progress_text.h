#pragma once
/// What a progress line says, apart from how it gets onto the terminal.

#include <cstdint>
#include <string>
#include <string_view>

namespace peft {

/// `train 120/1000 12% 35.2/s 0:25 left, loss 0.31`. `seconds` have passed since `first` were done; `total` <= 0 is unknown.
std::string progress_text(std::string_view label, int64_t done, int64_t total, int64_t first, double seconds,
                          std::string_view note);

}  // namespace peft
