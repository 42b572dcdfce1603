/// Numerical traps of attention with a linear state (docs/kernels.md#numerical-traps), on the emulator. The rules are those of the CPU path.

#include "tests/kernels/cuda/ntk_run.h"

namespace peft::cuda {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr StateMap kMaps[] = {StateMap::elu, StateMap::taylor1};

bool all_finite(const std::vector<double>& x) {
  return std::all_of(x.begin(), x.end(), [](double value) { return std::isfinite(value); });
}
double largest(const std::vector<double>& x) {
  double most = 0.0;
  for (const double value : x) most = std::isnan(value) ? value : std::max(most, std::abs(value));
  return most;
}
template <class T>
void expect_finite(NtkRun<T>& run) {
  for (Slice<T>* x : {&run.out, &run.dq}) EXPECT_TRUE(all_finite(values(*x)));
  for (Floats* x : {&run.lse, &run.dz, &run.dden}) EXPECT_TRUE(all_finite(values(*x)));
}
template <class T>
void expect_zero_state_is_softmax() {
  for (const StateMap map : kMaps) {
    for (const double logit : {0.0, 200.0, -200.0}) {
      NtkCase c{.group_rows = {0, 20, 53}, .map = map, .logit = logit, .z_size = 0.0, .den_size = 0.0};
      SCOPED_TRACE(c.name());
      const NtkInputs in = ntk_inputs<T>(c);
      const NtkReference r = NtkOracle(c, in).run();
      NtkRun<T> run = run_ntk<T>(c, in, r);
      EXPECT_TRUE(same_bits(elements(run.out), run.self));
      EXPECT_TRUE(same_bits(elements(run.dq), run.dq_self));
      for (std::size_t i = 0; i < r.self_lse.size(); ++i) EXPECT_EQ(run.lse[i], static_cast<float>(r.self_lse[i]));
      expect_finite(run);
      if (map == StateMap::taylor1) {  // b = 0 is off
        EXPECT_EQ(largest(values(run.dz)) + largest(values(run.dden)), 0.0);
      } else if (logit == 0.0) {
        EXPECT_LT(relative_l2(values(run.dz), r.dz), 2e-5);
      }
    }
  }
}
TEST(NtkTraps, ZeroStateIsPlainSoftmax) {
  expect_zero_state_is_softmax<bf16>();
  expect_zero_state_is_softmax<half>();
}

template <class T>
void expect_extreme_logits() {
  for (const StateMap map : kMaps) {
    for (const double logit : {200.0, -200.0}) {
      for (const bool centered : {false, true}) {
        const NtkCase c{.group_rows = {0, 20, 53}, .map = map, .centered = centered, .logit = logit, .seed = 2};
        SCOPED_TRACE(c.name());
        const NtkInputs in = ntk_inputs<T>(c);
        const NtkReference r = NtkOracle(c, in).run();
        NtkRun<T> run = run_ntk<T>(c, in, r);
        expect_finite(run);
        EXPECT_LT(relative_l2(values(run.out), r.out), 3.5e-3);
        if (logit < 0) {  // the state has all of the mass; at +200 it has e^-200 of it
          EXPECT_LT(relative_l2(values(run.dq), r.dq), 4e-3 * 2.5);
          EXPECT_LT(relative_l2(values(run.dz), r.dz), 2e-5);
          EXPECT_LT(dden_error(values(run.dden), r.dden, r), 2e-5);
        } else {
          EXPECT_TRUE(same_bits(elements(run.dq), run.dq_self));
          EXPECT_LT(largest(values(run.dz)), 1e-30);
        }
      }
    }
  }
}
TEST(NtkTraps, ExtremeLogitsBesideAState) {
  expect_extreme_logits<bf16>();
  expect_extreme_logits<half>();
}

template <class T>
void expect_state_part() {
  // g of neighbours differs by e^24, more than half can hold: their sum is led by the rows of small L, and every row
  // keeps its own dphi.
  NtkCase c{.group_rows = {0, 100}, .causal = false, .z_size = 30.0, .den_size = 30.0, .seed = 3};
  NtkInputs in = ntk_inputs<T>(c);
  NtkReference r = NtkOracle(c, in).run();
  std::vector<double> self_lse;
  for (std::size_t i = 0; i < r.self_lse.size(); ++i) self_lse.push_back(i % 2 == 0 ? -12.0 : 12.0);
  NtkRun<T> run = run_ntk<T>(c, in, r, self_lse);
  std::vector<double> dq = run.state.dq;
  for (std::size_t i = 0; i < dq.size(); ++i) dq[i] += static_cast<double>(to_float(run.dq_self[i]));
  EXPECT_LT(relative_l2(values(run.dq), dq), (std::is_same_v<T, half> ? 1e-3 : 4e-3));
  EXPECT_LT(relative_l2(values(run.dz), run.state.dz), 2e-5);
  EXPECT_LT(relative_l2(values(run.dden), run.state.dden), 2e-5);
}
TEST(NtkTraps, RowsOfVeryDifferentMassShareATile) {
  expect_state_part<bf16>();
  expect_state_part<half>();
}

TEST(NtkTraps, ValuesWithoutMassAreLegal) {
  // den = 0 beside Z != 0, as one author's script starts: O = O_s + e^-L a.
  const NtkCase c{.group_rows = {0, 20, 53}, .den_size = 0.0, .seed = 4};
  const NtkInputs in = ntk_inputs<bf16>(c);
  const NtkReference r = NtkOracle(c, in).run();
  NtkRun<bf16> run = run_ntk<bf16>(c, in, r);
  EXPECT_LT(relative_l2(values(run.out), r.out), 3.5e-3);
  EXPECT_LT(relative_l2(values(run.dq), r.dq), 4e-3);
  EXPECT_LT(relative_l2(values(run.dz), r.dz), 2e-5);
  EXPECT_LT(dden_error(values(run.dden), r.dden, r), 5e-3);
  EXPECT_GT(relative_l2(r.out, r.self), 1e-2);
}

TEST(NtkTraps, RowScaleIsClamped) {
  // Values without mass where e^-L has no float: e^80 a, and gradients of that size, but no infinity.
  const NtkCase c{.group_rows = {0, 33}, .logit = -200.0, .z_size = 1e-36, .den_size = 0.0, .seed = 5};
  const NtkInputs in = ntk_inputs<bf16>(c);
  const NtkReference r = NtkOracle(c, in).run();
  NtkRun<bf16> run = run_ntk<bf16>(c, in, r);
  expect_finite(run);
  double a = 0.0;  // of the first row and column
  for (int m = 0; m < c.width; ++m) {
    const double y = std::sqrt(c.scale()) * in.q[m];
    a += (y > 0 ? y + 1 : std::exp(y)) * in.z[static_cast<std::size_t>(m) * c.width];
  }
  EXPECT_NEAR(run.out.value(0, 0, 0), r.self[0] + std::exp(80.0) * a, std::abs(std::exp(80.0) * a) * 0.02);
}

TEST(NtkTraps, NegativeMassIsGated) {
  for (const double logit : {0.0, 200.0, -200.0}) {
    for (const int width : {32, 96}) {
      // The third group's mass is negative; its rows are plain softmax, bit for bit, and its state gets nothing.
      const NtkCase c{.group_rows = {2, 20, 41, 77},
                      .width = width,
                      .map = StateMap::taylor1,
                      .centered = width == 96,
                      .logit = logit,
                      .seed = 6};
      SCOPED_TRACE(c.name());
      NtkInputs in = ntk_inputs<bf16>(c);
      const std::size_t state = static_cast<std::size_t>(2) * c.state_heads * c.features();
      if (logit == 0.0) in.z[(state + 3) * c.width] = kInfinity;  // 0 times it would not be 0
      NtkReference r = NtkOracle(c, in).run();
      EXPECT_EQ(r.gated, (77 - 41) * c.heads);
      NtkRun<bf16> run = run_ntk<bf16>(c, in, r);
      expect_finite(run);
      std::size_t i = 0;
      run.out.each([&](int t, int h, int d) {
        if (t >= 41) {
          EXPECT_EQ(run.out.at(t, h, d).bits, run.self[i].bits) << t;
          EXPECT_EQ(run.dq.at(t, h, d).bits, run.dq_self[i].bits) << t;
        }
        ++i;
      });
      for (std::size_t m = state; m < run.dden.count; ++m) EXPECT_EQ(run.dden[m], 0.0F);
      for (std::size_t m = state * c.width; m < run.dz.count; ++m) EXPECT_EQ(run.dz[m], 0.0F);
      EXPECT_EQ(largest(values(run.dden)) > 0.0, logit <= 0.0);  // e^-200 is no float
      EXPECT_LT(relative_l2(values(run.out), r.out), 3.5e-3);
    }
  }
}

TEST(NtkTraps, ForwardAndBackwardGateTheSameRows) {
  // b within its rounding error of 0: whichever way the forward pass decided, a row that is off has no gradient.
  NtkCase c{.group_rows = {0, 60}, .map = StateMap::taylor1, .z_size = 0.0, .seed = 7};
  NtkInputs in = ntk_inputs<bf16>(c);
  std::fill(in.den.begin(), in.den.end(), 0.0);
  std::mt19937_64 random(7);
  for (int t = 0; t < c.rows(); ++t) {
    for (int h = 0; h < c.heads; ++h) {  // pairs of features that cancel but for the last digit of phi
      double* q = &in.q[(static_cast<std::size_t>(t) * c.heads + h) * c.width];
      for (int m = 0; m < c.width; m += 2) q[m + 1] = q[m] * (random() % 3 == 0 ? 1.0078125 : 1.0);
      for (int m = 0; m < c.width; ++m) q[m] = static_cast<double>(to_float(to_bf16(static_cast<float>(q[m]))));
    }
  }
  for (int h = 0; h < c.state_heads; ++h) {
    for (int m = 0; m < c.width; ++m)
      in.den[static_cast<std::size_t>(h) * c.features() + 1 + m] = m % 2 == 0 ? 1.0 : -1.0;
  }
  const NtkReference r = NtkOracle(c, in).run();
  NtkRun<bf16> run = run_ntk<bf16>(c, in, r);
  expect_finite(run);
  int off = 0, on = 0;
  std::size_t i = 0;
  run.dq.each([&](int t, int h, int) {
    const std::size_t row = static_cast<std::size_t>(h) * c.rows() + t;
    const bool was_off = run.lse[row] == static_cast<float>(r.self_lse[row]);
    if (was_off && run.dq_self[i].bits != run.dq.at(t, h, static_cast<int>(i) % c.width).bits) ADD_FAILURE() << t;
    (was_off ? off : on) += 1;
    ++i;
  });
  EXPECT_GT(off, 0);
  EXPECT_GT(on, 0);
}

TEST(NtkTraps, RowsWithoutKeys) {
  for (const double no_keys : {-kInfinity, kInfinity}) {  // +inf is flash attention's
    for (const StateMap map : kMaps) {
      for (const double size : {1.0, 0.0}) {
        NtkCase c{.group_rows = {0, 20, 40}, .map = map, .z_size = size, .den_size = size, .seed = 8};
        SCOPED_TRACE(c.name());
        NtkInputs in = ntk_inputs<bf16>(c);
        std::fill(in.v.begin(), in.v.end(), 0.0);
        NtkReference r = NtkOracle(c, in).run();
        std::fill(r.self.begin(), r.self.end(), std::numeric_limits<double>::quiet_NaN());  // not written
        NtkRun<bf16> run = run_ntk<bf16>(c, in, r, std::vector<double>(r.self_lse.size(), no_keys));
        for (int t = 0; t < c.rows(); ++t) {
          for (int h = 0; h < c.heads; ++h) {
            const float lse = run.lse[static_cast<std::size_t>(h) * c.rows() + t];
            if (size == 0.0) {  // neither keys nor mass
              EXPECT_EQ(lse, -kInfinity);
              for (int i = 0; i < c.width; ++i) EXPECT_EQ(run.out.value(t, h, i), 0.0);
              continue;
            }
            const std::size_t at = (static_cast<std::size_t>(t) * c.heads + h) * c.width,
                              state = (t < 20 ? 0 : c.state_heads) + static_cast<std::size_t>(h);
            double a = 0.0, b = 0.0;
            for (int m = 0; m < c.features(); ++m) {
              const int feature = map == StateMap::elu ? m : m - 1;
              const double y = feature < 0 ? 1.0 : std::sqrt(c.scale()) * in.q[at + feature],
                           phi = map == StateMap::taylor1 ? y
                                 : y > 0                  ? y + 1
                                                          : std::exp(y);
              b += phi * in.den[state * c.features() + m];
              a += phi * in.z[(state * c.features() + m) * c.width];
            }
            EXPECT_NEAR(lse, std::log(b), 4e-3);
            EXPECT_NEAR(run.out.value(t, h, 0), a / b, 0.02 * std::max(1.0, std::abs(a / b)));
          }
        }
        if (size == 0.0) {
          EXPECT_EQ(largest(values(run.dz)) + largest(values(run.dden)), 0.0);
          EXPECT_EQ(largest(values(run.dq)), 0.0);
        } else {
          EXPECT_LT(relative_l2(values(run.dz), run.state.dz), 2e-5);
          EXPECT_LT(relative_l2(values(run.dden), run.state.dden), 2e-5);
          EXPECT_LT(relative_l2(values(run.dq), run.state.dq), 4e-3);
        }
      }
    }
  }
}

TEST(NtkTraps, ANonFiniteAdapterStaysAlone) {
  for (const StateMap map : kMaps) {
    const NtkCase c{.group_rows = {0, 20, 41, 60}, .map = map, .seed = 9};
    NtkInputs in = ntk_inputs<bf16>(c), bad = in;
    if (map == StateMap::taylor1) {  // the third group's mass is negative: make it count
      for (NtkInputs* x : {&in, &bad}) {
        for (double& den : x->den) den = std::abs(den);
      }
    }
    const std::size_t state = static_cast<std::size_t>(c.state_heads) * c.features() * c.width;
    bad.z[state + 3] = kInfinity;
    const NtkReference r = NtkOracle(c, in).run();
    NtkRun<bf16> clean = run_ntk<bf16>(c, in, r), broken = run_ntk<bf16>(c, bad, r);
    broken.out.each([&](int t, int h, int i) {
      if (t >= 20 && t < 41) return;
      ASSERT_EQ(broken.out.at(t, h, i).bits, clean.out.at(t, h, i).bits) << t;
      ASSERT_EQ(broken.dq.at(t, h, i).bits, clean.dq.at(t, h, i).bits) << t;
    });
    EXPECT_FALSE(std::isfinite(broken.out.value(20, 0, 3)));
    for (std::size_t i = 0; i < broken.dz.count; ++i) {
      if (i / state != 1) {
        ASSERT_EQ(broken.dz[i], clean.dz[i]) << i;
      }
    }
  }
}

/// The oracle itself: its gradients are differences of its output.
TEST(NtkOracle, GradientsAreDifferences) {
  for (const StateMap map : kMaps) {
    NtkCase c{.group_rows = {1, 4, 6}, .key_heads = 1, .state_heads = 1, .width = 4, .map = map, .centered = true};
    c.group_rows.push_back(c.group_rows.back() + 2);  // a third group: gated with taylor1
    NtkInputs in = ntk_inputs<bf16>(c);
    const NtkReference r = NtkOracle(c, in).run();
    EXPECT_EQ(r.gated > 0, map == StateMap::taylor1);
    const auto loss = [&] {
      const NtkReference x = NtkOracle(c, in).run();
      return std::inner_product(x.out.begin(), x.out.end(), in.dout.begin(), 0.0);
    };
    expect_differences(loss, in.q, r.dq);
    expect_differences(loss, in.z, r.dz);
    expect_differences(loss, in.den, r.dden);
  }
}

}  // namespace
}  // namespace peft::cuda
