#include "src/text/normalizer.h"

namespace peft::text {

Registry<ReadNormalizer>& normalizers() {
  static Registry<ReadNormalizer> registry("normalizer");
  return registry;
}

std::unique_ptr<Normalizer> make_normalizer(const JsonSection& section) {
  return find_section(normalizers(), section)(section);
}

}  // namespace peft::text
