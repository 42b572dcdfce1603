// Normalizers that leave characters out.

#include "src/text/normalizer.h"

namespace peft::text {
namespace {

/// Drops every combining mark.
class StripAccents : public Normalizer {
 public:
  void normalize(std::string_view text, std::string& out, Sources* sources) const override {
    Rewriter rewriter(text, out, sources);
    for (std::size_t i = 0; i < text.size();) {
      const char32_t point = next_code_point(text, i);
      if (is_combining_mark(point)) {
        rewriter.skip();
      } else {
        rewriter.put(point);
      }
    }
  }
};

/// Drops white space at the two ends.
class Strip : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}

  void normalize(std::string_view text, std::string& out, Sources* sources) const override {
    Rewriter rewriter(text, out, sources);
    const std::size_t end = right_ ? before_white_space(text, text.size()) : text.size();
    bool leading = left_;
    for (std::size_t i = 0; i < end;) {
      const char32_t point = next_code_point(text, i);
      leading = leading && is_white_space(point);
      if (leading) {
        rewriter.skip();
      } else {
        rewriter.put(point);
      }
    }
  }

 private:
  bool left_, right_;
};

const bool accents_registered = normalizers().add(
    "StripAccents", [](const JsonSection&) -> std::unique_ptr<Normalizer> { return std::make_unique<StripAccents>(); });
const bool ends_registered = normalizers().add("Strip", [](const JsonSection& section) -> std::unique_ptr<Normalizer> {
  return std::make_unique<Strip>(section.at("strip_left").boolean(), section.at("strip_right").boolean());
});

}  // namespace
}  // namespace peft::text
