#include "src/text/token_table.h"

#include <algorithm>
#include <utility>

namespace peft::text {

TokenTable::Head::Head() : state_(kSeed) {}

TokenTable::Head::Head(std::string text) : text_(std::move(text)), state_(kSeed) {
  for (const char c : text_) state_ = extend(state_, c);
}

TokenTable::TokenTable() : slots_(64) {}

void TokenTable::place(uint64_t hash, uint32_t entry) {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = hash & mask;
  while (slots_[slot].entry != 0) slot = (slot + 1) & mask;
  slots_[slot] = {static_cast<uint32_t>(hash >> 32), entry};
}

void TokenTable::grow() {
  slots_.assign(slots_.size() * 2, Slot());
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    uint64_t state = kSeed;
    for (const char c : token(entries_[i])) state = extend(state, c);
    place(finish(state), static_cast<uint32_t>(i + 1));
  }
}

const TokenTable::Entry* TokenTable::lookup(uint64_t state, std::string_view head, std::string_view rest) const {
  const uint64_t hash = finish(state);
  const uint32_t tag = static_cast<uint32_t>(hash >> 32);
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t slot = hash & mask; slots_[slot].entry != 0; slot = (slot + 1) & mask) {
    if (slots_[slot].tag != tag) continue;
    const Entry& entry = entries_[slots_[slot].entry - 1];
    if (entry.length != head.size() + rest.size()) continue;
    const std::string_view found = token(entry);
    if (found.starts_with(head) && found.ends_with(rest)) return &entry;
  }
  return nullptr;
}

bool TokenTable::insert(std::string_view token_text, int32_t value) {
  uint64_t state = kSeed;
  for (const char c : token_text) state = extend(state, c);
  if (lookup(state, {}, token_text) != nullptr) return false;
  entries_.push_back({arena_.size(), token_text.size(), value});
  arena_ += token_text;
  longest_ = std::max(longest_, token_text.size());
  if (entries_.size() * 2 > slots_.size()) {
    grow();
  } else {
    place(finish(state), static_cast<uint32_t>(entries_.size()));
  }
  return true;
}

std::optional<int32_t> TokenTable::find(std::string_view token_text) const {
  uint64_t state = kSeed;
  for (const char c : token_text) state = extend(state, c);
  const Entry* entry = lookup(state, {}, token_text);
  return entry != nullptr ? std::optional(entry->value) : std::nullopt;
}

TokenTable::Match TokenTable::longest_prefix(std::string_view text, const Head& head) const {
  if (head.text_.size() >= longest_) return {};
  const std::size_t limit = std::min(text.size(), longest_ - head.text_.size());
  const std::string_view reachable = text.substr(0, limit);
  uint64_t state = head.state_;
  if (limit == text.size()) {  // words are mostly known whole: ask that first
    for (const char c : text) state = extend(state, c);
    if (limit == 0) return {};
    if (const Entry* entry = lookup(state, head.text_, text)) return {entry->value, text.size()};
    state = head.state_;
  }
  Match best;
  for (std::size_t i = 0; i < limit; ++i) {
    state = extend(state, reachable[i]);
    if (const Entry* entry = lookup(state, head.text_, reachable.substr(0, i + 1))) best = {entry->value, i + 1};
  }
  return best;
}

}  // namespace peft::text
