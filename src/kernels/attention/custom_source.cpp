#include "src/kernels/attention/custom_source.h"

#include "src/kernels/custom/tensors.h"

namespace peft {

std::unique_ptr<SourceRoute> custom_source(const AttentionArgs& args, const at::Tensor& q) {
  if (custom::has_element(q.scalar_type())) {
    for (const auto make : {custom_state, custom_prefix, custom_assembly}) {
      if (auto route = make(args, q)) return route;
    }
  }
  return stock_source(args);
}

}  // namespace peft
