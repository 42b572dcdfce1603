#pragma once
/// Third step of a tokenizer: words to ids (section `model` of tokenizer.json).

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "src/text/section_registry.h"

namespace peft::text {

class Vocabulary;

class Model {
 public:
  virtual ~Model() = default;
  /// Appends the ids of one word and, unless null, where in the word the piece of each id ends; it starts where the one before ends.
  /// `word` is valid UTF-8 and not empty.
  virtual void tokenize(std::string_view word, std::vector<int32_t>& ids,
                        std::vector<std::size_t>* ends = nullptr) const = 0;
  virtual const Vocabulary& vocabulary() const = 0;
};

/// Each type registers a function that reads its section.
using ReadModel = std::unique_ptr<Model> (*)(const JsonSection& section);
Registry<ReadModel>& models();

/// Throws DataError for an unknown type, and for a broken section.
std::unique_ptr<Model> make_model(const JsonSection& section);

}  // namespace peft::text
