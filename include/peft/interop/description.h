#pragma once
/// What a trained folder is for, so that it can be used where nothing else of its run is: task.json and README.md beside the tensors
/// (docs/formats.md#taskjson). Names of labels are not part of it: they go with the head.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "peft/base/json.h"
#include "peft/data/config.h"

namespace peft {

struct Description {
  TaskConfig task;  ///< without the path of its data
  DataConfig data;  ///< how files are read: columns, format, delimiter, quoting
  std::string method, pooling;
  int64_t trainable_parameters = 0;
  std::string base_model;         ///< its name, or the last part of its path where nothing tells one
  std::string fingerprint;        ///< of its files
  std::string dtype = "float32";  ///< of the frozen weights in training
  Json scores;  ///< {"split", "n", "step", METRIC..., "ci95": {METRIC: [low, high]}}; null: not evaluated

  void visit(Fields& fields);
};

/// Nothing where the folder has no task.json. Throws DataError.
std::optional<Description> read_description(const std::filesystem::path& folder);

/// The text of task.json.
std::string to_text(Description description);

/// Whether peft computes the same logits from a folder of this peft_type. It refuses the others, which are ours.
bool known_to_peft(const std::string& peft_type);

/// The text of README.md, a model card. `peft_type` empty: the folder is a whole model.
std::string model_card(const Description& description, const std::vector<std::string>& labels,
                       const std::string& peft_type);

/// The model's own name, ORG/NAME, where something tells it: a Hugging Face cache around the folder, or a _name_or_path in its config.json
/// that ends in the folder's name. (Another _name_or_path is of the model that this one was made from.) Else empty.
std::string model_name(const std::filesystem::path& folder);

}  // namespace peft
