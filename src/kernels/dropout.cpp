#include "peft/kernels/dropout.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>

#include "peft/base/rng.h"
#include "peft/kernels/grouped_matmul.h"
#include "src/kernels/cpu_rows.h"
#include "src/kernels/cuda/common/dropout.h"
#include "src/kernels/custom/dropout.h"
#include "src/kernels/custom/tensors.h"

namespace peft {
namespace {

/// A block of four Philox words decides eight columns, 16 bits each: probabilities are multiples of 2^-16.
constexpr int64_t kColumnsPerBlock = 8;

struct MaskRow {
  PhiloxKey key;
  uint32_t position, ordinal, step;
};

PhiloxKey site_key(const DropoutSite& site, int64_t adapter) {
  const uint64_t name = hash64(site.name, site.context->seeds[adapter]);
  return {static_cast<uint32_t>(name), static_cast<uint32_t>(name >> 32)};
}

/// Draws below it are dropped. At least one of the 65536 draws is kept, so that the scale stays finite for p just below 1.
uint32_t threshold(double p) { return static_cast<uint32_t>(std::min(std::lround(p * 65536.0), 65535L)); }

/// keep[c] = 1 where the 16-bit draw of column c is at or above the threshold. Blocks are independent: the loop vectorises.
__attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"))) void fill_keep(
    uint8_t* keep, int64_t columns, const MaskRow& row, uint32_t first_block, uint32_t limit) {
  constexpr int64_t kLanes = 16;
  uint32_t c0[kLanes], c1[kLanes], c2[kLanes], c3[kLanes];
  for (int64_t begin = 0; begin < columns; begin += kLanes * kColumnsPerBlock) {
    for (int64_t j = 0; j < kLanes; ++j) {
      c0[j] = first_block + static_cast<uint32_t>(begin / kColumnsPerBlock + j);
      c1[j] = row.position;
      c2[j] = row.ordinal;
      c3[j] = row.step;
    }
    PhiloxKey key = row.key;
    for (int round = 0; round < 10; ++round) {
      for (int64_t j = 0; j < kLanes; ++j) {
        const uint64_t a = uint64_t{0xD2511F53} * c0[j], b = uint64_t{0xCD9E8D57} * c2[j];
        c0[j] = static_cast<uint32_t>(b >> 32) ^ c1[j] ^ key[0];
        c1[j] = static_cast<uint32_t>(b);
        c2[j] = static_cast<uint32_t>(a >> 32) ^ c3[j] ^ key[1];
        c3[j] = static_cast<uint32_t>(a);
      }
      key[0] += 0x9E3779B9;
      key[1] += 0xBB67AE85;
    }
    const int64_t end = std::min(columns, begin + kLanes * kColumnsPerBlock);
    for (int64_t c = begin; c < end; ++c) {
      const int64_t j = (c - begin) / kColumnsPerBlock, part = (c - begin) % kColumnsPerBlock;
      const uint32_t word = part < 2 ? c0[j] : part < 4 ? c1[j] : part < 6 ? c2[j] : c3[j];
      keep[c] = (part % 2 == 0 ? word & 0xFFFF : word >> 16) >= limit;
    }
  }
}

at::Tensor keep_mask(const DropoutSite& site, const PackedBatch& rows, int64_t columns) {
  at::Tensor keep = at::empty({rows.rows(), columns}, at::kByte);
  uint8_t* data = keep.data_ptr<uint8_t>();
  std::vector<PhiloxKey> keys;
  for (std::size_t k = 0; k < site.context->seeds.size(); ++k) keys.push_back(site_key(site, static_cast<int64_t>(k)));
  at::parallel_for(0, rows.sequences(), 1, [&](int64_t first, int64_t last) {
    for (int64_t b = first; b < last; ++b) {
      const int64_t adapter = rows.adapter(b);
      const uint32_t limit = threshold(site.of(adapter));
      for (int64_t t = rows.begin(b); t < rows.begin(b) + rows.length(b); ++t) {
        const MaskRow row{keys[adapter], static_cast<uint32_t>(rows.index()[t]), static_cast<uint32_t>(rows.ordinal(b)),
                          static_cast<uint32_t>(site.context->steps[adapter])};
        fill_keep(data + t * columns, columns, row, 0, limit);
      }
    }
  });
  return keep.to(rows.device());
}

double keep_scale(double p) { return 65536.0 / (65536.0 - threshold(p)); }

struct NamedDropout : torch::autograd::Function<NamedDropout> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const at::Tensor& keep,
                            double scale) {
    ctx->save_for_backward({keep});
    ctx->saved_data["scale"] = scale;
    return at::native_dropout_backward(x, keep.view(at::kBool), scale);  // x * keep * scale in one pass
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    return {at::native_dropout_backward(grads[0], saved[0].view(at::kBool), ctx->saved_data["scale"].toDouble()),
            at::Tensor(), at::Tensor()};
  }
};

/// The masks are drawn inside the one pass over the rows, and anew for the gradient: nothing is kept.
struct CpuDropout : torch::autograd::Function<CpuDropout> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x_TC,
                            const c10::intrusive_ptr<CpuRowMasks>& masks) {
    ctx->saved_data["masks"] = at::IValue::make_capsule(masks);
    return dropped(x_TC, *masks);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto held = ctx->saved_data["masks"].toCapsule();
    return {dropped(grads[0], *static_cast<const CpuRowMasks*>(held.get())), at::Tensor()};
  }

 private:
  static at::Tensor dropped(const at::Tensor& given_TC, const CpuRowMasks& masks) {
    const at::Tensor x_TC = given_TC.contiguous();
    at::Tensor y_TC = at::empty_like(x_TC);
    const int64_t columns = x_TC.size(1);
    const cpu::Element element = cpu_element(x_TC.scalar_type());
    for_rows(x_TC.size(0), columns, [&](int64_t first, int64_t last) {
      cpu::kernels().rows.dropout(element, masks.view(), x_TC.const_data_ptr(), y_TC.mutable_data_ptr(), columns, first,
                                  last);
    });
    return y_TC;
  }
};

}  // namespace

at::Tensor dropout(const at::Tensor& x_TC, const DropoutSite& site, const Batch& rows, const Execution& execution) {
  if (!site.active()) return x_TC;
  if (execution.custom_kernels && custom::has_element(x_TC.scalar_type()) && x_TC.size(1) % 8 == 0)
    return custom::row_dropout(x_TC, site, rows);
  if (on_cpu(x_TC)) return CpuDropout::apply(x_TC, c10::make_intrusive<CpuRowMasks>(site, *rows));
  const at::Tensor keep = keep_mask(site, *rows, x_TC.size(1));
  const bool one = std::all_of(site.p.begin(), site.p.end(), [&](double p) { return p == site.p.front(); });
  if (one) return NamedDropout::apply(x_TC, keep, keep_scale(site.p.front()));
  std::vector<double> scales;
  for (const double p : site.p) scales.push_back(keep_scale(p));
  return NamedDropout::apply(x_TC * rows_of_adapters(scales, *rows, x_TC), keep, 1.0);
}

at::Tensor attention_dropout_mask(const DropoutSite& site, const PackedBatch& queries, int64_t b, int64_t heads,
                                  int64_t prefix, int64_t keys) {
  const int64_t n = queries.length(b), adapter = queries.adapter(b);
  const uint32_t limit = threshold(site.of(adapter));
  const auto scale = static_cast<float>(keep_scale(site.of(adapter)));
  at::Tensor mask = at::empty({heads, n, prefix + keys}, at::kFloat);
  float* out = mask.data_ptr<float>();
  std::vector<uint8_t> keep(prefix + keys);
  const PhiloxKey key = site_key(site, adapter);
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t i = 0; i < n; ++i) {
      const MaskRow row{key, static_cast<uint32_t>(queries.index()[queries.begin(b) + i]),
                        static_cast<uint32_t>(queries.ordinal(b)), static_cast<uint32_t>(site.context->steps[adapter])};
      const int head = static_cast<int>(h);
      fill_keep(keep.data(), prefix, row, cuda::attention_chunk(head, true, 0), limit);
      fill_keep(keep.data() + prefix, keys, row, cuda::attention_chunk(head, false, 0), limit);
      for (int64_t j = 0; j < prefix + keys; ++j) *out++ = keep[j] ? scale : 0.0F;
    }
  }
  return mask;
}

}  // namespace peft
