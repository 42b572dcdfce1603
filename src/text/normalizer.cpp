#include "src/text/normalizer.h"

#include <utility>
#include <vector>

#include "src/text/canonical_order.h"
#include "src/text/unicode.h"

namespace peft::text {
namespace {

class Nfd : public Normalizer {
 public:
  void normalize(std::string_view text, std::string& out) const override {
    out.clear();
    CanonicalOrder order([&](char32_t point) { append_code_point(out, point); });
    for (std::size_t i = 0; i < text.size();) order.add_decomposed(next_code_point(text, i));
    order.flush();
  }
};

class LowercaseNormalizer : public Normalizer {
 public:
  void normalize(std::string_view text, std::string& out) const override {
    out.clear();
    for (std::size_t i = 0; i < text.size();) {
      const Lowercase lower = lowercase(next_code_point(text, i));
      for (int k = 0; k < lower.count; ++k) append_code_point(out, lower.points[static_cast<std::size_t>(k)]);
    }
  }
};

class StripAccents : public Normalizer {
 public:
  void normalize(std::string_view text, std::string& out) const override {
    out.clear();
    for (std::size_t i = 0; i < text.size();) {
      const char32_t point = next_code_point(text, i);
      if (!is_combining_mark(point)) append_code_point(out, point);
    }
  }
};

class SequenceNormalizer : public Normalizer {
 public:
  explicit SequenceNormalizer(std::vector<std::unique_ptr<Normalizer>> steps) : steps_(std::move(steps)) {}
  void normalize(std::string_view text, std::string& out) const override {
    out = text;
    std::string before;
    for (const auto& step : steps_) {
      std::swap(before, out);
      step->normalize(before, out);
    }
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> steps_;
};

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(const JsonSection& section) {
  const std::string& type = section.at("type").string();
  if (type == "BertNormalizer") {
    BertNormalizerOptions options{.clean_text = section.at("clean_text").boolean(),
                                  .handle_chinese_chars = section.at("handle_chinese_chars").boolean(),
                                  .strip_accents = std::nullopt,
                                  .lowercase = section.at("lowercase").boolean()};
    if (section.has("strip_accents")) options.strip_accents = section.at("strip_accents").boolean();
    return make_bert_normalizer(options);
  }
  if (type == "NFD") return std::make_unique<Nfd>();
  if (type == "Lowercase") return std::make_unique<LowercaseNormalizer>();
  if (type == "StripAccents") return std::make_unique<StripAccents>();
  if (type == "Sequence") {
    std::vector<std::unique_ptr<Normalizer>> steps;
    for (const JsonSection& step : section.at("normalizers").items()) steps.push_back(make_normalizer(step));
    return std::make_unique<SequenceNormalizer>(std::move(steps));
  }
  section.fail("type \"" + type +
               "\" is not supported (supported: BertNormalizer, Lowercase, NFD, Sequence, StripAccents)");
}

}  // namespace peft::text
