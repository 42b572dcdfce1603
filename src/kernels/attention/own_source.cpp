#include "src/kernels/attention/own_source.h"

#include "src/kernels/own/tensors.h"

namespace peft {

std::unique_ptr<SourceRoute> own_source(const AttentionArgs& args, const at::Tensor& q) {
  if (own::has_element(q.scalar_type())) {
    for (const auto make : {own_state, own_prefix, own_assembly}) {
      if (auto route = make(args, q)) return route;
    }
  }
  return stock_source(args);
}

}  // namespace peft
