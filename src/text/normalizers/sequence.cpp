#include <utility>
#include <vector>

#include "src/text/normalizer.h"

namespace peft::text {
namespace {

/// Its steps one after another.
class Sequence : public Normalizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<Normalizer>> steps) : steps_(std::move(steps)) {}

  void normalize(std::string_view text, std::string& out, Sources* sources) const override {
    Rewriter copy(text, out, sources);
    for (std::size_t i = 0; i < text.size();) copy.put(next_code_point(text, i));
    std::string before;
    Sources step_sources;
    for (const auto& step : steps_) {
      std::swap(before, out);
      step->normalize(before, out, sources != nullptr ? &step_sources : nullptr);
      if (sources == nullptr) continue;
      for (uint32_t& source : step_sources) source = (*sources)[source];
      std::swap(*sources, step_sources);
    }
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> steps_;
};

const bool registered = normalizers().add("Sequence", [](const JsonSection& section) -> std::unique_ptr<Normalizer> {
  std::vector<std::unique_ptr<Normalizer>> steps;
  for (const JsonSection& step : section.at("normalizers").items()) steps.push_back(make_normalizer(step));
  return std::make_unique<Sequence>(std::move(steps));
});

}  // namespace
}  // namespace peft::text
