#include "src/text/post_processor.h"

#include <utility>

namespace peft::text {

Registry<ReadPostProcessor>& post_processors() {
  static Registry<ReadPostProcessor> registry("post_processor");
  return registry;
}

void read_post_processor(const JsonSection& section, int64_t size, PostProcessor& result) {
  find_section(post_processors(), section)(section, size, result);
}

PostProcessor make_post_processor(const JsonSection& section, int64_t size) {
  PostProcessor result;
  read_post_processor(section, size, result);
  return result;
}

void set_templates(Template single, Template pair, const JsonSection& section, PostProcessor& result) {
  if (result.has_template) section.fail("a second processor that adds tokens, expected one");
  result.single = std::move(single);
  result.pair = std::move(pair);
  result.has_template = true;
}

int64_t count_special(const Template& pieces) {
  int64_t count = 0;
  for (const TemplatePiece& piece : pieces) count += static_cast<int64_t>(piece.ids.size());
  return count;
}

}  // namespace peft::text
