#include "src/text/post_processor.h"

namespace peft::text {
namespace {

const bool registered =
    post_processors().add("Sequence", [](const JsonSection& section, int64_t size, PostProcessor& result) {
      for (const JsonSection& step : section.at("processors").items()) read_post_processor(step, size, result);
    });

}  // namespace
}  // namespace peft::text
