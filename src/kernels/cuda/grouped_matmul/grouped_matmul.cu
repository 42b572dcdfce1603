#include "src/kernels/cuda/grouped_matmul/gradient_sum.cuh"
#include "src/kernels/cuda/grouped_matmul/launch.cuh"
#include "src/kernels/cuda/grouped_matmul/row_dropout.cuh"

namespace peft::cuda {

int grouped_shrink(const GroupedShrink& product, void* stream) { return launch_grouped_shrink(product, stream); }

int grouped_expand(const GroupedExpand& product, void* stream) { return launch_grouped_expand(product, stream); }

int grouped_gradient(const GroupedGradient& product, void* stream) {
  if (const int error = launch_gradient_partials(product, stream)) return error;
  return product.groups == 0 ? 0 : launch_gradient_sum(product, stream);
}

int row_dropout(const RowDropout& dropout, void* stream) {
  if (!multiples_of_8({dropout.wide, dropout.x_stride, dropout.y_stride}) || !aligned({dropout.x, dropout.y}))
    return kRefused;
  if (dropout.rows == 0 || dropout.wide == 0) return 0;
  switch (dropout.type) {
    case Element::bfloat16:
      return launch_row_dropout<bf16>(dropout, stream);
    case Element::float16:
      return launch_row_dropout<half>(dropout, stream);
    case Element::float32:
      return launch_row_dropout<float>(dropout, stream);
  }
  return kRefused;
}

}  // namespace peft::cuda
