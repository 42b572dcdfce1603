#include "peft/methods/released.h"

#include <fmt/ranges.h>

#include "peft/base/error.h"

namespace peft {

const at::Tensor& ReleasedFiles::required(const std::string& tensor, int64_t dimensions) const {
  const auto it = tensors.find(tensor);
  if (it == tensors.end()) throw_error<DataError>("{}: tensor {} is missing", files.origin, tensor);
  if (it->second.dim() != dimensions) {
    throw_error<DataError>("{}: tensor {} has shape [{}], expected {} dimensions", files.origin, tensor,
                           fmt::join(it->second.sizes(), ", "), dimensions);
  }
  return it->second;
}

}  // namespace peft
