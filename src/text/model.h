#pragma once
/// Third step of a tokenizer: words to ids (section `model` of tokenizer.json).

#include <cstdint>
#include <string_view>
#include <vector>

namespace peft::text {

class Vocabulary;

class Model {
 public:
  virtual ~Model() = default;
  /// Appends the ids of one word. `word` is valid UTF-8 and not empty.
  virtual void tokenize(std::string_view word, std::vector<int32_t>& ids) const = 0;
  virtual const Vocabulary& vocabulary() const = 0;
};

}  // namespace peft::text
