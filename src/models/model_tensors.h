#pragma once
/// Tensors of a model folder under the names the network asks for (docs/formats.md#model-folders). Private to src/models.

#include <set>
#include <span>

#include "peft/models/spec.h"
#include "peft/tensor/safetensors.h"

namespace peft {

/// Old spellings renamed (gamma/beta), ignorable names dropped, the family's base prefix added where the folder lacks it.
class NamedModelTensors {
 public:
  NamedModelTensors(const std::filesystem::path& folder, const ModelSpec& spec);

  bool contains(const std::string& name) const { return original_.contains(name); }
  /// Throws DataError when the tensor is missing, has another shape or no floating dtype. A size of -1 accepts any.
  at::Tensor take(const std::string& name, std::span<const int64_t> shape);
  /// One warning that names the tensors nobody asked for.
  void warn_unused() const;
  /// The floating dtype of most tensors: what dtype "auto" means when config.json does not say.
  at::ScalarType common_dtype() const;

 private:
  ModelTensors tensors_;
  std::string model_type_, file_;                // the file that lists the tensors
  std::map<std::string, std::string> original_;  // normalised name -> name in the file
  std::set<std::string> taken_;
};

at::ScalarType parse_dtype(const std::string& name, const std::string& origin);

}  // namespace peft
