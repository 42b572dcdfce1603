#pragma once
/// What an adapter folder holds: adapter_config.json and the tensors of adapter_model.safetensors, one adapter, no K. Beside a folded
/// adapter lies the form that was trained.

#include <ATen/core/Tensor.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "peft/base/error.h"
#include "peft/base/json.h"
#include "peft/models/spec.h"

namespace peft {

/// peft's task_type of a head that gives one row of outputs per text (classes, or a score), one per token, and of one that gives the ends of
/// an answer.
inline constexpr const char* kSequenceClassification = "SEQ_CLS";
inline constexpr const char* kTokenClassification = "TOKEN_CLS";
inline constexpr const char* kQuestionAnswering = "QUESTION_ANS";
inline constexpr const char* kCausalLanguageModel = "CAUSAL_LM";
inline constexpr const char* kSequenceToSequence = "SEQ_2_SEQ_LM";

/// The task_type of a kind of head, and the inverse.
const char* task_type_of(HeadKind kind);
std::optional<HeadKind> head_of_task_type(std::string_view task_type);

/// In front of module names in peft's files: of methods that wrap modules, and of those that only add tokens or pairs.
inline constexpr const char* kTunerPrefix = "base_model.model.";
inline constexpr const char* kPromptPrefix = "base_model.";

/// In front of a peft_type of peft's: the same tensors with a key of ours that peft lacks. It refuses such a file by its type, where it
/// would pass over the key and compute something else.
inline constexpr const char* kCustomPrefix = "PEFT_CPP_";

/// Makes `config`, of a type that peft knows, one with keys of ours.
void add_custom_keys(Json& config, const Json& keys);

struct AdapterFiles {
  Json config;
  std::map<std::string, at::Tensor> tensors;
  std::string origin;  ///< the folder, for messages
  std::map<std::string, at::Tensor> trained =
      {};                                ///< trained.safetensors: trainable tensors by name, when the method folds
  std::string trained_type = {};         ///< the method they belong to
  std::vector<std::string> labels = {};  ///< class id -> name; empty: not told
  std::map<std::string, std::string> documents = {};  ///< name -> text of further files in the folder

  /// Whether peft_type is `type`, with keys of ours or without. (Programs before such types wrote the keys under peft's.)
  bool has_type(const std::string& type) const;

  /// A key of the config into `target`; absent or null leaves it alone. Throws DataError when it has another type.
  template <class T>
  void read(const char* key, T& target) const {
    const auto it = config.find(key);
    if (it == config.end() || it->is_null()) return;
    try {
      it->get_to(target);
    } catch (const Json::exception&) {
      throw_error<DataError>("{}/adapter_config.json: {}: {} has the wrong type", origin, key, it->dump());
    }
  }
};

}  // namespace peft
