#include <algorithm>
#include <array>

#include "src/text/canonical_order.h"
#include "src/text/normalizer.h"
#include "src/text/unicode.h"

namespace peft::text {
namespace {

/// The four steps of the reference, fused into one pass: each code point goes through all of them before the next one is read.
class BertNormalizer : public Normalizer {
 public:
  explicit BertNormalizer(const BertNormalizerOptions& options)
      : clean_(options.clean_text),
        chinese_(options.handle_chinese_chars),
        strip_(options.strip_accents.value_or(options.lowercase)),
        lower_(options.lowercase) {
    for (int c = 0; c < 128; ++c) {
      const auto point = static_cast<char32_t>(c);
      int to = c;
      if (clean_ && is_control(point)) {
        to = kDropped;
      } else if (clean_ && is_white_space(point)) {
        to = ' ';
      } else if (lower_ && c >= 'A' && c <= 'Z') {
        to = c - 'A' + 'a';
      }
      ascii_[static_cast<std::size_t>(c)] = static_cast<int8_t>(to);
    }
  }

  void normalize(std::string_view text, std::string& out) const override {
    out.clear();
    CanonicalOrder order([&](char32_t point) { put_ordered(point, out); });
    for (std::size_t i = 0; i < text.size();) {
      const auto byte = static_cast<unsigned char>(text[i]);
      if (byte < 0x80) {
        const auto to = ascii_[byte];
        ++i;
        if (to == kDropped) continue;  // dropped before marks are ordered: those around it meet
        order.flush();
        out += static_cast<char>(to);
        continue;
      }
      const char32_t point = next_code_point(text, i);
      if (clean_ && is_control(point)) continue;
      if (clean_ && is_white_space(point)) {
        order.flush();
        out += ' ';
        continue;
      }
      const bool spaced = chinese_ && is_chinese_character(point);
      if (spaced) order.flush(), out += ' ';
      if (strip_) {
        order.add_decomposed(point);
      } else {
        put_lowercase(point, out);
      }
      if (spaced) order.flush(), out += ' ';
    }
    order.flush();
  }

 private:
  static constexpr int kDropped = -1;

  void put_ordered(char32_t point, std::string& out) const {
    if (!is_nonspacing_mark(point)) put_lowercase(point, out);
  }
  void put_lowercase(char32_t point, std::string& out) const {
    if (!lower_) return append_code_point(out, point);
    const Lowercase lower = lowercase(point);
    for (int k = 0; k < lower.count; ++k) append_code_point(out, lower.points[static_cast<std::size_t>(k)]);
  }

  bool clean_, chinese_, strip_, lower_;
  std::array<int8_t, 128> ascii_{};  ///< what becomes of an ASCII character
};

}  // namespace

std::unique_ptr<Normalizer> make_bert_normalizer(const BertNormalizerOptions& options) {
  return std::make_unique<BertNormalizer>(options);
}

}  // namespace peft::text
