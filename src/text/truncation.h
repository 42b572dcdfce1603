#pragma once
/// How many tokens of one or two texts are kept.

#include <cstdint>
#include <optional>

#include "peft/text/tokenizer.h"

namespace peft::text {

struct Kept {
  int64_t first;
  int64_t second;
};

/// Cuts at the right end. With M = room and |A| + |B| > M:
///   longest_first  the shorter text keeps min(its length, floor(M/2)), the longer the rest; on equal lengths B counts as the longer;
///   only_first     A keeps M - |B|; only_second: B keeps M - |A|.
/// Throws DataError when only_first or only_second would have to cut the other text too, or there is no second text to cut.
Kept truncate(int64_t first, std::optional<int64_t> second, int64_t room, Truncation rule);

}  // namespace peft::text
