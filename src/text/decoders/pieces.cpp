// Decoders that do one thing to each piece, or to all of them: Replace, Strip, Fuse.

#include <limits>
#include <utility>

#include "src/text/decoder.h"

namespace peft::text {
namespace {

class Replace : public Decoder {
 public:
  Replace(std::string pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void decode(std::vector<std::string>& pieces) const override {
    for (std::string& piece : pieces) replace_all(piece, pattern_, content_);
  }

 private:
  std::string pattern_, content_;
};

/// Takes up to `start` times one character from the front of each piece and up to `stop` times from its end.
class Strip : public Decoder {
 public:
  Strip(std::string content, int64_t start, int64_t stop) : content_(std::move(content)), start_(start), stop_(stop) {}
  void decode(std::vector<std::string>& pieces) const override {
    for (std::string& piece : pieces) {
      std::string_view rest = piece;
      for (int64_t k = 0; k < start_ && rest.starts_with(content_); ++k) rest.remove_prefix(content_.size());
      for (int64_t k = 0; k < stop_ && rest.ends_with(content_); ++k) rest.remove_suffix(content_.size());
      piece = std::string(rest);
    }
  }

 private:
  std::string content_;
  int64_t start_, stop_;
};

/// All pieces become one.
class Fuse : public Decoder {
 public:
  void decode(std::vector<std::string>& pieces) const override {
    std::string text;
    for (const std::string& piece : pieces) text += piece;
    pieces = {text};
  }
};

std::unique_ptr<Decoder> read_strip(const JsonSection& section) {
  constexpr int64_t most = std::numeric_limits<int32_t>::max();
  const std::string& content = section.at("content").string();
  if (content.empty()) section.at("content").fail("is empty, expected one character");
  return std::make_unique<Strip>(content, section.at("start").integer(0, most), section.at("stop").integer(0, most));
}

const bool registered =
    decoders().add("Replace",
                   [](const JsonSection& section) -> std::unique_ptr<Decoder> {
                     return std::make_unique<Replace>(read_pattern(section.at("pattern")),
                                                      section.at("content").string());
                   }) &&
    decoders().add("Strip", read_strip) &&
    decoders().add("Fuse", [](const JsonSection&) -> std::unique_ptr<Decoder> { return std::make_unique<Fuse>(); });

}  // namespace
}  // namespace peft::text
