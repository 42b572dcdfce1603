#include <utility>

#include "src/text/pre_tokenizer.h"

namespace peft::text {
namespace {

/// Each step splits the words of the step before it.
class Sequence : public PreTokenizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<PreTokenizer>> steps) : steps_(std::move(steps)) {}

  void split(std::string_view text, Storage& storage, std::vector<std::string_view>& words) const override {
    words.clear();
    if (!text.empty()) words.push_back(text);
    std::vector<std::string_view> next, parts;
    for (const auto& step : steps_) {
      next.clear();
      for (const std::string_view word : words) {
        step->split(word, storage, parts);
        next.insert(next.end(), parts.begin(), parts.end());
      }
      std::swap(words, next);
    }
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> steps_;
};

const bool registered =
    pre_tokenizers().add("Sequence", [](const JsonSection& section) -> std::unique_ptr<PreTokenizer> {
      std::vector<std::unique_ptr<PreTokenizer>> steps;
      for (const JsonSection& step : section.at("pretokenizers").items()) steps.push_back(make_pre_tokenizer(step));
      return std::make_unique<Sequence>(std::move(steps));
    });

}  // namespace
}  // namespace peft::text
