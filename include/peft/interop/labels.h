#pragma once
/// Rows of a head and classes of data, matched by name (docs/formats.md#labels).

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "peft/methods/method.h"

namespace peft {

/// Names of the labels of a model folder: id2label of its config.json. Empty where they are not `outputs`, or where transformers made them
/// up (LABEL_0, ...). Throws DataError.
std::vector<std::string> model_labels(const std::filesystem::path& folder, std::optional<int64_t> outputs = {});

/// For each name of `to` its place in `from`: equal names, else names that are equal but for upper and lower case. Throws DataError
/// naming `origin` and both lists where that is no permutation.
std::vector<int64_t> match_labels(const std::vector<std::string>& from, const std::vector<std::string>& to,
                                  const std::string& origin);

/// Puts the rows that give the labels from the order `from` into the order `to`: those of adapter k, or of the checkpoint's own head.
/// Either list may be empty, which means not known: the rows stay, with a warning where the data has names and the head has none. Throws
/// DataError as match_labels.
void order_labels(const Transformer& model, Method& method, int64_t k, const std::vector<std::string>& from,
                  const std::vector<std::string>& to, const std::string& origin);
void order_labels(Transformer& model, const std::vector<std::string>& from, const std::vector<std::string>& to,
                  const std::string& origin);

/// The layer that gives the labels, where adapter files of `method` hold it; nullptr: the checkpoint's own answers.
const TrainedLinear* labels_layer(const Transformer& model, Method& method);
/// Whether that layer trains.
bool trains_labels(const Transformer& model, Method& method);

}  // namespace peft
