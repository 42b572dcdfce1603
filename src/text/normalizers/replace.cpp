// Normalizers that put a fixed text into the text.

#include <utility>

#include "src/text/normalizer.h"

namespace peft::text {
namespace {

/// Every occurrence of one text by another.
class Replace : public Normalizer {
 public:
  Replace(std::string pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}

  void normalize(std::string_view text, std::string& out, Sources* sources) const override {
    Rewriter rewriter(text, out, sources);
    const auto width = static_cast<int>(count_code_points(pattern_));
    for (std::size_t i = 0; i < text.size();) {
      if (pattern_.empty() || !text.substr(i).starts_with(pattern_)) {
        rewriter.put(next_code_point(text, i));
        continue;
      }
      // The new characters stand for the last one replaced, as in the reference.
      rewriter.skip(width);
      for (std::size_t k = 0; k < content_.size();) rewriter.put(next_code_point(content_, k), 0);
      i += pattern_.size();
    }
  }

 private:
  std::string pattern_, content_;
};

/// A text in front, unless there is nothing to put it in front of.
class Prepend : public Normalizer {
 public:
  explicit Prepend(std::string front) : front_(std::move(front)) {}

  void normalize(std::string_view text, std::string& out, Sources* sources) const override {
    Rewriter rewriter(text, out, sources);
    if (text.empty()) return;
    for (std::size_t k = 0; k < front_.size();) {
      const bool first = k == 0;
      rewriter.put(next_code_point(front_, k), first ? 1 : 0);  // all of it stands for the first character
    }
    std::size_t i = 0;
    rewriter.put(next_code_point(text, i), front_.empty() ? 1 : 0);
    while (i < text.size()) rewriter.put(next_code_point(text, i));
  }

 private:
  std::string front_;
};

const bool replace_registered =
    normalizers().add("Replace", [](const JsonSection& section) -> std::unique_ptr<Normalizer> {
      return std::make_unique<Replace>(read_pattern(section.at("pattern")), section.at("content").string());
    });
const bool prepend_registered =
    normalizers().add("Prepend", [](const JsonSection& section) -> std::unique_ptr<Normalizer> {
      return std::make_unique<Prepend>(section.at("prepend").string());
    });

}  // namespace
}  // namespace peft::text
