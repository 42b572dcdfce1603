#include "src/text/normalizer.h"

namespace peft::text {
namespace {

/// Each character in lowercase, whatever stands around it.
class LowercaseNormalizer : public Normalizer {
 public:
  void normalize(std::string_view text, std::string& out, Sources* sources) const override {
    Rewriter rewriter(text, out, sources);
    for (std::size_t i = 0; i < text.size();) {
      const Lowercase lower = lowercase(next_code_point(text, i));
      for (int k = 0; k < lower.count; ++k) rewriter.put(lower.points[static_cast<std::size_t>(k)], k == 0 ? 1 : 0);
    }
  }
};

const bool registered = normalizers().add("Lowercase", [](const JsonSection&) -> std::unique_ptr<Normalizer> {
  return std::make_unique<LowercaseNormalizer>();
});

}  // namespace
}  // namespace peft::text
