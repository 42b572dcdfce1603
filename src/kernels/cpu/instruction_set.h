// The kernels of one instruction set: included by one file for each, which defines PEFT_ISA and is compiled for it. All
// of it stands in a namespace of its own: nothing compiled for one processor may stand in for what another needs.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <new>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "src/kernels/cpu/kernels.h"

namespace peft::cpu::PEFT_ISA {
namespace {

#include "src/kernels/cpu/vector.h"
//
#include "src/kernels/cpu/masks.h"
//
#include "src/kernels/cpu/products.h"
//
#include "src/kernels/cpu/elements.h"
//
#include "src/kernels/cpu/scratch.h"
//
#include "src/kernels/cpu/attention_unit.h"
//
#include "src/kernels/cpu/attention_forward.h"
//
#include "src/kernels/cpu/attention_backward.h"
//
#include "src/kernels/cpu/row_functions.h"

thread_local Scratch scratch;

template <class T, class E, class Run>
void run_unit(const PackedAttention& a, int64_t range, int64_t key_head, const Run& run) {
  if (a.masks != nullptr) return run(Unit<T, E, true>(a, range, key_head));
  run(Unit<T, E, false>(a, range, key_head));
}
/// run(unit) with a unit of the element's types.
template <class Run>
void with_unit(const PackedAttention& a, int64_t range, int64_t key_head, const Run& run) {
  switch (a.element) {
    case Element::f32:
      return run_unit<float, float>(a, range, key_head, run);
    case Element::f64:
      return run_unit<double, double>(a, range, key_head, run);
    case Element::bf16:
      return run_unit<float, Bfloat16>(a, range, key_head, run);
    case Element::f16:
      return run_unit<float, _Float16>(a, range, key_head, run);
  }
}

void forward(const PackedAttention& a, const AttentionResult& result, int64_t range, int64_t key_head) {
  with_unit(a, range, key_head, [&](auto unit) { unit.forward(result, scratch); });
}
void backward(const PackedAttention& a, const AttentionGradients& gradients, int64_t range, int64_t key_head) {
  with_unit(a, range, key_head, [&](auto unit) { unit.backward(gradients, scratch); });
}

void dropout(Element element, const RowMasks& masks, const void* x, void* y, int64_t columns, int64_t first,
             int64_t last) {
  const auto run = [&]<class T, class E>(T /*sum*/, E /*element*/) {
    dropout_rows<T>(masks, static_cast<const E*>(x), static_cast<E*>(y), columns, first, last);
  };
  switch (element) {
    case Element::f32:
      return run(float(), float());
    case Element::f64:
      return run(double(), double());
    case Element::bf16:
      return run(float(), Bfloat16());
    case Element::f16:
      return run(float(), _Float16());
  }
}

/// run(number) with a number of the element's type; norms are not made for float64.
template <class Run>
void with_number(Element element, const Run& run) {
  if (element == Element::f32) run(float());
  if (element == Element::bf16) run(Bfloat16());
  if (element == Element::f16) run(_Float16());
}
void norm(const ResidualNorm& n, int64_t first, int64_t last) {
  with_number(n.element, [&]<class E>(E /*element*/) { norm_rows<E>(n, first, last); });
}
void norm_backward(const ResidualNorm& n, const ResidualNormGradients& gradients, int64_t first, int64_t last) {
  with_number(n.element, [&]<class E>(E /*element*/) { norm_rows_backward<E>(n, gradients, first, last); });
}

}  // namespace

const Kernels& kernels() {
  static constexpr Kernels kKernels{PEFT_ISA_NAME, {forward, backward}, {dropout, norm, norm_backward}};
  return kKernels;
}

}  // namespace peft::cpu::PEFT_ISA
