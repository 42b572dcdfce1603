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

  void normalize(std::string_view text, std::string& out, Sources* sources) const override {
    if (sources == nullptr) return rewrite(text, out, [](std::size_t) {});
    sources->clear();
    rewrite(text, out, [&](std::size_t source) { sources->resize(out.size(), static_cast<uint32_t>(source)); });
  }

 private:
  static constexpr int kDropped = -1;

  /// Calls `trace` with the place of a character behind everything that is written for it.
  template <class Trace>
  void rewrite(std::string_view text, std::string& out, Trace trace) const {
    out.clear();
    CanonicalOrder order([&](char32_t point, uint32_t source, bool /*first*/) {
      if (is_nonspacing_mark(point)) return;
      put_lowercase(point, out);
      trace(source);
    });
    const auto put_byte = [&](char byte, std::size_t source) {
      order.flush();
      out += byte;
      trace(source);
    };
    for (std::size_t i = 0; i < text.size();) {
      const std::size_t start = i;
      const auto byte = static_cast<unsigned char>(text[i]);
      if (byte < 0x80) {
        const auto to = ascii_[byte];
        ++i;
        if (to == kDropped) continue;  // dropped before marks are ordered: those around it meet
        put_byte(static_cast<char>(to), start);
        continue;
      }
      const char32_t point = next_code_point(text, i);
      if (clean_ && is_control(point)) continue;
      if (clean_ && is_white_space(point)) {
        put_byte(' ', start);
        continue;
      }
      const bool spaced = chinese_ && is_chinese_character(point);
      if (spaced) put_byte(' ', start);
      if (strip_) {
        order.add_decomposed(point, static_cast<uint32_t>(start));
      } else {
        put_lowercase(point, out);
        trace(start);
      }
      if (spaced) put_byte(' ', start);
    }
    order.flush();
  }

  void put_lowercase(char32_t point, std::string& out) const {
    if (!lower_) return append_code_point(out, point);
    const Lowercase lower = lowercase(point);
    for (int k = 0; k < lower.count; ++k) append_code_point(out, lower.points[static_cast<std::size_t>(k)]);
  }

  bool clean_, chinese_, strip_, lower_;
  std::array<int8_t, 128> ascii_{};  ///< what becomes of an ASCII character
};

std::unique_ptr<Normalizer> read_bert_normalizer(const JsonSection& section) {
  BertNormalizerOptions options{.clean_text = section.at("clean_text").boolean(),
                                .handle_chinese_chars = section.at("handle_chinese_chars").boolean(),
                                .strip_accents = std::nullopt,
                                .lowercase = section.at("lowercase").boolean()};
  if (section.has("strip_accents")) options.strip_accents = section.at("strip_accents").boolean();
  return make_bert_normalizer(options);
}

const bool registered = normalizers().add("BertNormalizer", read_bert_normalizer);

}  // namespace

std::unique_ptr<Normalizer> make_bert_normalizer(const BertNormalizerOptions& options) {
  return std::make_unique<BertNormalizer>(options);
}

}  // namespace peft::text
