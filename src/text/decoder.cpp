#include "src/text/decoder.h"

namespace peft::text {

Registry<ReadDecoder>& decoders() {
  static Registry<ReadDecoder> registry("decoder");
  return registry;
}

std::unique_ptr<Decoder> make_decoder(const JsonSection& section) { return find_section(decoders(), section)(section); }

void replace_all(std::string& text, std::string_view pattern, std::string_view content) {
  if (pattern.empty()) return;
  for (std::size_t at = 0; (at = text.find(pattern, at)) != std::string::npos; at += content.size())
    text.replace(at, pattern.size(), content);
}

}  // namespace peft::text
