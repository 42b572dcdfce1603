#include <utility>

#include "src/text/pre_tokenizer.h"
#include "src/text/pre_tokenizers/behavior.h"

namespace peft::text {
namespace {

/// Splits where a fixed text stands, or with `invert` between its occurrences.
class Split : public PreTokenizer {
 public:
  Split(std::string pattern, Behavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

  void split(std::string_view text, Storage& /*storage*/, std::vector<std::string_view>& words) const override {
    std::vector<Match> matches;
    for (std::size_t done = 0; done < text.size();) {
      const std::size_t found = pattern_.empty() ? text.npos : text.find(pattern_, done);
      const std::size_t stop = std::min(found, text.size());
      if (done < stop) matches.push_back({done, stop, invert_});
      if (stop < text.size()) matches.push_back({stop, stop + pattern_.size(), !invert_});
      done = stop + pattern_.size();
      if (found == text.npos) break;
    }
    split_at(text, matches, behavior_, words);
  }

 private:
  std::string pattern_;
  Behavior behavior_;
  bool invert_;
};

const bool registered = pre_tokenizers().add("Split", [](const JsonSection& section) -> std::unique_ptr<PreTokenizer> {
  return std::make_unique<Split>(read_pattern(section.at("pattern")), read_behavior(section.at("behavior")),
                                 section.at("invert").boolean());
});

}  // namespace
}  // namespace peft::text
