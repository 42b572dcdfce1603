#include "src/text/truncation.h"

#include <algorithm>

#include "peft/base/error.h"

namespace peft::text {

Kept truncate(int64_t first, std::optional<int64_t> second, int64_t room, Truncation rule) {
  const int64_t other = second.value_or(0);
  if (first + other <= room) return {first, other};
  if (rule == Truncation::only_second && !second)
    throw_error<DataError>("truncation only_second: {} tokens, room for {}, and no second text to cut", first, room);
  if (!second) return {room, 0};

  if (rule == Truncation::longest_first) {
    const bool first_is_longer = first > other;
    const int64_t shorter = std::min(std::min(first, other), room / 2);
    return first_is_longer ? Kept{room - shorter, shorter} : Kept{shorter, room - shorter};
  }
  const bool cut_first = rule == Truncation::only_first;
  const int64_t whole = cut_first ? other : first;
  if (whole > room) {
    throw_error<DataError>("truncation {}: the {} text alone has {} tokens, room for {}",
                           cut_first ? "only_first" : "only_second", cut_first ? "second" : "first", whole, room);
  }
  return cut_first ? Kept{room - whole, whole} : Kept{whole, room - whole};
}

}  // namespace peft::text
