#pragma once
/// The kernels of ntk_attention as a training step calls them: pack, forward, the softmax backward in double, backward.

#include "tests/kernels/cuda/ntk_case.h"

namespace peft::cuda {

template <class T>
struct NtkRun {
  Slice<T> q, dout, out, dq;
  Floats lse, dz, dden;
  std::vector<T> self, dq_self;  ///< O_s, and what the backward pass found in dq: [T,H,D]
  NtkStatePart state;            ///< what the kernels should add to them
};

/// `r` gives the softmax part alone; `self_lse`, where there is any, its log-sum-exp.
template <class T>
NtkRun<T> run_ntk(const NtkCase& c, const NtkInputs& in, const NtkReference& r,
                  const std::vector<double>& self_lse_given = {}) {
  const int rows = c.rows();
  const std::size_t states = static_cast<std::size_t>(c.groups()) * c.state_heads;
  NtkRun<T> run{{rows, c.heads, c.width},
                {rows, c.heads, c.width},
                {rows, c.heads, c.width},
                {rows, c.heads, c.width},
                Floats(static_cast<std::size_t>(c.heads) * rows),
                Floats(states * c.features() * c.width),
                Floats(states * c.features()),
                {},
                {},
                {}};
  Slice<T> self(rows, c.heads, c.width);
  Floats self_lse(run.lse.count);
  fill_slice(run.q, in.q);
  fill_slice(run.dout, in.dout);
  fill_slice(self, r.self);
  run.self = elements(self);
  for (std::size_t i = 0; i < self_lse.count; ++i)
    self_lse[i] = static_cast<float>(self_lse_given.empty() ? r.self_lse[i] : self_lse_given[i]);
  const NtkShape shape{tile_type<T>(), c.map,   c.groups(), c.heads,
                       c.state_heads,  c.width, rows,       static_cast<float>(c.scale())};
  const NtkWorkList work = ntk_work_list(c.group_rows, c.width);
  const std::vector<float> z(in.z.begin(), in.z.end()), den(in.den.begin(), in.den.end()),
      center(in.center.begin(), in.center.end());
  std::vector<uint4> packed(states * c.features() * (c.width + 8) / 8 + 1, uint4{77, 77, 77, 77});
  std::vector<float4> z_aligned(z.size() / 4 + 1);
  std::memcpy(z_aligned.data(), z.data(), z.size() * sizeof(float));
  EXPECT_EQ(ntk_pack({shape, &z_aligned[0].x, den.data(), packed.data()}, nullptr), 0);
  EXPECT_EQ(packed.back().x, 77U);
  EXPECT_EQ(ntk_attention_forward(
                {shape, run.q.view(), self.view(), run.out.view(), self_lse.data(), run.lse.data(), packed.data(),
                 c.centered ? center.data() : nullptr, work.tiles.data(), static_cast<int32_t>(work.tiles.size())},
                nullptr),
            0);

  const NtkOracle oracle(c, in);
  run.state = oracle.state_part(values(self), values(self_lse));
  fill_slice(run.dq, oracle.dq_self(values(run.out), values(run.lse), values(self_lse)));
  run.dq_self = elements(run.dq);
  Floats partial(work.chunks.size() * c.heads * ntk_partial_floats(c.map, c.width));
  EXPECT_EQ(ntk_attention_backward(
                {shape, run.dout.view(), run.q.view(), self.view(), run.dq.view(), self_lse.data(), run.lse.data(),
                 packed.data(), c.centered ? center.data() : nullptr, run.dz.data(), run.dden.data(), partial.data(),
                 work.chunks.data(), work.first_chunk.data(), static_cast<int32_t>(work.chunks.size())},
                nullptr),
            0);
  for (Slice<T>* x : {&run.q, &run.dout, &run.out, &run.dq, &self}) EXPECT_TRUE(x->canaries_live());
  for (Floats* x : {&run.lse, &run.dz, &run.dden, &partial, &self_lse}) EXPECT_TRUE(x->canaries_live());
  return run;
}

}  // namespace peft::cuda
