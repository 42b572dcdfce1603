#include "src/text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <memory>
#include <span>
#include <tuple>

#include "src/text/unicode_tables.h"

namespace peft::text {
namespace {

enum Property : uint16_t {
  control = 1,
  nonspacing_mark = 2,
  combining_mark = 4,
  punctuation = 8,
  word = 16,
  white_space = 32,
  reordered = 64,
  decomposed = 128,
  compatible = 256,
  numeric = 512
};

constexpr CodeRange kWhiteSpace[] = {{0x9, 0xD},       {0x20, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},
                                     {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F},
                                     {0x205F, 0x205F}, {0x3000, 0x3000}};
constexpr CodeRange kChinese[] = {{0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},  {0x20000, 0x2A6DF},
                                  {0x2A700, 0x2B81F}, {0x2B920, 0x2CEAF}, {0x2F800, 0x2FA1F}};

/// The sets of unicode_tables.h as flags of each code point, two megabytes, made on first use.
class PropertyMap {
 public:
  PropertyMap() : flags_(new uint16_t[kSize]()) {
    mark(kControl, control);
    mark(kNonspacingMark, nonspacing_mark);
    mark(kCombiningMark, combining_mark);
    mark(kPunctuation, punctuation);
    mark(kWord, word);
    mark(kWhiteSpace, white_space);
    mark(kReordered, reordered);
    mark(kDecomposed, decomposed);
    mark(kCompatible, compatible);
    mark(kNumeric, numeric);
  }
  bool has(char32_t point, Property property) const { return (flags_[point] & property) != 0; }

 private:
  static constexpr std::size_t kSize = 0x110000;

  void mark(std::span<const CodeRange> ranges, Property property) {
    for (const CodeRange& range : ranges)
      for (char32_t point = range.first; point <= range.last; ++point)
        flags_[point] = static_cast<uint16_t>(flags_[point] | property);
  }

  std::unique_ptr<uint16_t[]> flags_;
};

const PropertyMap& properties() {
  static const PropertyMap map;
  return map;
}

/// Lowercase mappings newer than some utf8proc, as `step` added to a range of capitals.
struct Shift {
  char32_t first, last;
  int32_t step;
};
constexpr Shift kNewCapitals[] = {{0x1C89, 0x1C89, 1},      {0xA7CB, 0xA7CB, 0x264 - 0xA7CB},
                                  {0xA7CC, 0xA7CC, 1},      {0xA7CE, 0xA7CE, 1},
                                  {0xA7D2, 0xA7D2, 1},      {0xA7D4, 0xA7D4, 1},
                                  {0xA7DA, 0xA7DA, 1},      {0xA7DC, 0xA7DC, 0x19B - 0xA7DC},
                                  {0x10D50, 0x10D65, 0x20}, {0x16EA0, 0x16EB8, 0x1B}};
constexpr char32_t kFirstNewCapital = kNewCapitals[0].first;

}  // namespace

char32_t previous_code_point(std::string_view text, std::size_t& position) {
  --position;
  while ((static_cast<unsigned char>(text[position]) & 0xC0) == 0x80) --position;
  std::size_t start = position;
  return next_code_point(text, start);
}

void append_code_point(std::string& text, char32_t point) {
  const auto tail = [&](int shift) { text += static_cast<char>(0x80 | (point >> shift & 0x3F)); };
  if (point < 0x80) {
    text += static_cast<char>(point);
  } else if (point < 0x800) {
    text += static_cast<char>(0xC0 | point >> 6);
    tail(0);
  } else if (point < 0x10000) {
    text += static_cast<char>(0xE0 | point >> 12);
    tail(6), tail(0);
  } else {
    text += static_cast<char>(0xF0 | point >> 18);
    tail(12), tail(6), tail(0);
  }
}

std::size_t count_code_points(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

bool is_control(char32_t point) { return properties().has(point, control); }
bool is_nonspacing_mark(char32_t point) { return properties().has(point, nonspacing_mark); }
bool is_combining_mark(char32_t point) { return properties().has(point, combining_mark); }
bool is_punctuation(char32_t point) { return properties().has(point, punctuation); }
bool is_word_character(char32_t point) { return properties().has(point, word); }
bool is_white_space(char32_t point) { return properties().has(point, white_space); }

bool is_numeric(char32_t point) { return properties().has(point, numeric); }

bool is_chinese_character(char32_t point) {
  if (point < kChinese[0].first) return false;
  return std::any_of(std::begin(kChinese), std::end(kChinese),
                     [&](const CodeRange& block) { return block.first <= point && point <= block.last; });
}

std::size_t before_white_space(std::string_view text, std::size_t end) {
  while (end > 0) {
    std::size_t previous = end;
    if (!is_white_space(previous_code_point(text, previous))) break;
    end = previous;
  }
  return end;
}

Lowercase lowercase(char32_t point) {
  if (point == 0x130) return {{U'i', 0x307}, 2};  // the one code point whose lowercase is two
  if (point >= kFirstNewCapital)
    for (const Shift& shift : kNewCapitals)
      if (shift.first <= point && point <= shift.last) return {{static_cast<char32_t>(point + shift.step), 0}, 1};
  return {{static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(point))), 0}, 1};
}

Decomposition decompose(char32_t point, Form form) {
  Decomposition result{{point}, 1};
  const bool other = form == Form::compatible && properties().has(point, compatible);
  if (!other && !properties().has(point, decomposed)) return result;
  std::array<utf8proc_int32_t, std::tuple_size_v<decltype(result.points)>> points{};
  int last_class = 0;
  const auto option = static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | (other ? UTF8PROC_COMPAT : 0));
  result.count =
      static_cast<int>(utf8proc_decompose_char(static_cast<utf8proc_int32_t>(point), points.data(),
                                               static_cast<utf8proc_ssize_t>(points.size()), option, &last_class));
  std::copy_n(points.begin(), result.count, result.points.begin());
  return result;
}

std::optional<char32_t> compose(char32_t first, char32_t second) {
  std::array<utf8proc_int32_t, 2> points = {static_cast<utf8proc_int32_t>(first),
                                            static_cast<utf8proc_int32_t>(second)};
  const auto option = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  if (utf8proc_normalize_utf32(points.data(), points.size(), option) != 1) return std::nullopt;
  const auto point = static_cast<char32_t>(points[0]);
  return properties().has(point, decomposed) ? std::optional(point) : std::nullopt;  // else newer than the reference
}

int combining_class(char32_t point) {
  if (!properties().has(point, reordered)) return 0;
  return utf8proc_get_property(static_cast<utf8proc_int32_t>(point))->combining_class;
}

}  // namespace peft::text
