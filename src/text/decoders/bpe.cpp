#include "src/text/decoder.h"

namespace peft::text {
namespace {

/// A suffix ends each word: it becomes a blank, and in the last piece nothing.
class BpeDecoder : public Decoder {
 public:
  explicit BpeDecoder(std::string suffix) : suffix_(std::move(suffix)) {}
  void decode(std::vector<std::string>& pieces) const override {
    for (std::string& piece : pieces) replace_all(piece, suffix_, &piece == &pieces.back() ? "" : " ");
  }

 private:
  std::string suffix_;
};

const bool registered = decoders().add("BPEDecoder", [](const JsonSection& section) -> std::unique_ptr<Decoder> {
  const std::string& suffix = section.at("suffix").string();
  if (suffix.empty()) section.at("suffix").fail("is empty, expected one character or more");
  return std::make_unique<BpeDecoder>(suffix);
});

}  // namespace
}  // namespace peft::text
