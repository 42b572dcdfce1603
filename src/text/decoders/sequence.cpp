#include <utility>

#include "src/text/decoder.h"

namespace peft::text {
namespace {

/// Its steps one after another.
class Sequence : public Decoder {
 public:
  explicit Sequence(std::vector<std::unique_ptr<Decoder>> steps) : steps_(std::move(steps)) {}
  void decode(std::vector<std::string>& pieces) const override {
    for (const auto& step : steps_) step->decode(pieces);
  }

 private:
  std::vector<std::unique_ptr<Decoder>> steps_;
};

const bool registered = decoders().add("Sequence", [](const JsonSection& section) -> std::unique_ptr<Decoder> {
  std::vector<std::unique_ptr<Decoder>> steps;
  for (const JsonSection& step : section.at("decoders").items()) steps.push_back(make_decoder(step));
  return std::make_unique<Sequence>(std::move(steps));
});

}  // namespace
}  // namespace peft::text
