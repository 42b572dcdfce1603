#include "src/models/fused.h"

#include <ATen/ATen.h>

namespace peft {

void fuse(Attention& attention) {
  const Linear &query = attention.query, &key = attention.key, &value = attention.value;
  if (query.bias_O.defined() != key.bias_O.defined() || key.bias_O.defined() != value.bias_O.defined()) return;
  attention.qkv.role = Role::qkv;
  attention.qkv.weight_OC = at::cat({query.weight_OC, key.weight_OC, value.weight_OC});
  if (query.bias_O.defined()) attention.qkv.bias_O = at::cat({query.bias_O, key.bias_O, value.bias_O});
}

void view_parts(Attention& attention) {
  const Linear& whole = attention.qkv;
  if (!whole.weight_OC.defined()) return;
  int64_t row = 0;
  for (Linear* part : {&attention.query, &attention.key, &attention.value}) {
    const int64_t rows = part == &attention.query ? attention.heads * attention.head_dim : attention.key_width();
    part->weight_OC = whole.weight_OC.narrow(0, row, rows);
    if (whole.bias_O.defined()) part->bias_O = whole.bias_O.narrow(0, row, rows);
    row += rows;
  }
}

}  // namespace peft
