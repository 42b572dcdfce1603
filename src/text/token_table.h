#pragma once
/// Strings to numbers, with the one question tokenizers ask most: which is the longest known string here?

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace peft::text {

/// Open addressing over one arena of characters: no allocation and at most a few cache lines per look-up. The hash grows byte by
/// byte, so every start of a text is looked up in one pass over it.
class TokenTable {
 public:
  /// A string in front of every text that is looked up, hashed once ("##").
  class Head {
   public:
    Head();
    explicit Head(std::string text);

   private:
    friend class TokenTable;
    std::string text_;
    uint64_t state_;
  };
  struct Match {
    int32_t value = 0;
    std::size_t length = 0;  ///< bytes of the text, the head not counted; 0 = none
  };

  TokenTable();

  /// False when the token already exists (its value stays).
  bool insert(std::string_view token, int32_t value);
  std::optional<int32_t> find(std::string_view token) const;

  /// The longest non-empty start of `text` that is, behind `head`, in the table.
  Match longest_prefix(std::string_view text, const Head& head = Head()) const;

  std::size_t size() const { return entries_.size(); }

 private:
  static constexpr uint64_t kSeed = 0x9E3779B97F4A7C15u;

  struct Entry {
    std::size_t offset;
    std::size_t length;
    int32_t value;
  };
  struct Slot {
    uint32_t tag = 0;    ///< the other half of the hash: most strangers are turned away without touching the arena
    uint32_t entry = 0;  ///< index + 1; 0 = free
  };

  static uint64_t extend(uint64_t state, char c) {
    return (state ^ static_cast<unsigned char>(c)) * 0xD6E8FEB86659FD93u;  // odd constant with well spread bits
  }
  static uint64_t finish(uint64_t state) { return (state ^ state >> 32) * 0xD6E8FEB86659FD93u; }
  std::string_view token(const Entry& entry) const {
    return std::string_view(arena_).substr(entry.offset, entry.length);
  }
  const Entry* lookup(uint64_t state, std::string_view head, std::string_view rest) const;
  void place(uint64_t hash, uint32_t entry);
  void grow();

  std::string arena_;
  std::vector<Entry> entries_;
  std::vector<Slot> slots_;  ///< a power of two, at most half full
  std::size_t longest_ = 0;
};

}  // namespace peft::text
