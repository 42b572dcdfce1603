#pragma once
/// The words that BLEU counts.

#include <string>
#include <string_view>
#include <vector>

namespace peft {

/// sacreBLEU's tokenizer 13a, which equals that of WMT's mteval-v13a.
std::vector<std::string> bleu_tokens(std::string_view text);

}  // namespace peft
