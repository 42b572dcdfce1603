#pragma once
/// Attention with a linear state on the emulator, and the same in double precision written from the definition.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <string>

#include "src/kernels/cuda/ntk_attention/api.h"
#include "tests/kernels/cuda/memory.h"

namespace peft::cuda {

struct NtkCase {
  std::vector<int32_t> group_rows = {0, 70};  ///< [K+1]; rows before the first have no adapter
  int heads = 2, key_heads = 2, state_heads = 2, width = 32;
  StateMap map = StateMap::elu;
  bool causal = true, centered = false;
  double amplitude = 1.0;  ///< of the queries
  double logit = 0.0;      ///< +-200: every logit is near it
  double z_size = 1.0, den_size = 1.0;
  uint64_t seed = 1;

  int groups() const { return static_cast<int>(group_rows.size()) - 1; }
  int rows() const { return group_rows.back(); }
  int features() const { return ntk_state_rows(map, width); }
  double scale() const { return 1.0 / std::sqrt(width); }
  std::string name() const {
    std::string text = "groups";
    for (const int32_t r : group_rows) text += " " + std::to_string(r);
    return text + ", H " + std::to_string(heads) + ", G " + std::to_string(key_heads) + ", Hs " +
           std::to_string(state_heads) + ", D " + std::to_string(width) + ", map " +
           std::to_string(static_cast<int>(map)) + ", causal " + std::to_string(causal) + ", centered " +
           std::to_string(centered) + ", amplitude " + std::to_string(amplitude) + ", logit " + std::to_string(logit) +
           ", seed " + std::to_string(seed);
  }
};

/// Inputs of one call in double, already rounded to T where the kernels see them so.
struct NtkInputs {
  std::vector<double> q, k, v, dout, z, den, center;  ///< [T,H,D], [T,G,D] twice, [T,H,D], [K,Hs,M,D], [K,Hs,M]
};
template <class T>
NtkInputs ntk_inputs(const NtkCase& c) {
  RoundedNormals<T> normals(c.seed);
  NtkInputs in;
  const std::size_t rows = c.rows(), width = c.width, states = static_cast<std::size_t>(c.groups()) * c.state_heads;
  const double side = std::sqrt(std::abs(c.logit) / (c.width * c.scale())), size = c.logit == 0.0 ? 1.0 : 0.1;
  in.q = normals(rows * c.heads * width, c.amplitude * size, side);
  in.k = normals(rows * c.key_heads * width, size, c.logit < 0 ? -side : side);
  in.v = normals(rows * c.key_heads * width);
  in.dout = normals(rows * c.heads * width);
  in.z = normals(states * c.features() * width, c.z_size);
  in.den = normals(states * c.features(), c.den_size);
  for (double& x : in.den) x = std::abs(x);
  if (c.map == StateMap::taylor1) {
    // Mass of either sign, but none near 0, where rounding decides the sign: a large constant, negative for a group in
    // three.
    for (std::size_t i = 0; i < in.den.size(); i += c.features()) {
      const bool negative = i / c.features() / c.state_heads % 3 == 2;
      in.den[i] = normals.rounded((negative ? -8.0 : 8.0) * c.den_size * std::sqrt(width) *
                                  std::max(c.logit == 0.0 ? 1.0 : 8.0, c.amplitude));
    }
  }
  if (c.centered) {
    in.center = normals(states * width, 0.3 / std::max(1.0, c.amplitude));
    for (double& x : in.center) x = static_cast<double>(static_cast<float>(x));
  }
  return in;
}

struct NtkStatePart {
  std::vector<double> dq, dz, dden;
  double dden_squares = 0.0;  ///< of the terms of dden: those of a few rows may nearly cancel, their errors do not
};

struct NtkReference : NtkStatePart {
  std::vector<double> self, self_lse, out, lse;
  int gated = 0;
};

/// One row of one head at a time: weights e^{s_j} of the keys and phi_m of the features; then the gradient of sum(out * dout), whose parts
/// `dq_self`, as the softmax backward computes it, and `state_part` may be asked for of another output and log-sum-exp.
class NtkOracle {
 public:
  NtkOracle(const NtkCase& c, const NtkInputs& in) : c_(c), in_(in) {}

  NtkReference run() const {
    NtkReference r;
    const std::size_t all = in_.q.size();
    for (auto* x : {&r.self, &r.out}) x->assign(all, 0.0);
    for (auto* x : {&r.self_lse, &r.lse}) x->assign(static_cast<std::size_t>(c_.heads) * c_.rows(), 0.0);
    for (int k = -1; k < c_.groups(); ++k) {
      const int begin = k < 0 ? 0 : c_.group_rows[k], end = c_.group_rows[k + 1];
      for (int t = begin; t < end; ++t) {
        for (int h = 0; h < c_.heads; ++h) row(r, k, begin, end, t, h);
      }
    }
    static_cast<NtkStatePart&>(r) = state_part(r.self, r.self_lse);
    const std::vector<double> softmax = dq_self(r.out, r.lse, r.self_lse);
    for (std::size_t i = 0; i < all; ++i) r.dq[i] += softmax[i];
    return r;
  }

  /// scale sum_j e^{s_j - lse} (dO . v_j - delta) k_j.
  std::vector<double> dq_self(const std::vector<double>& out, const std::vector<double>& lse,
                              const std::vector<double>& self_lse) const {
    std::vector<double> dq(in_.q.size(), 0.0);
    for (int k = -1; k < c_.groups(); ++k) {
      const int begin = k < 0 ? 0 : c_.group_rows[k], end = c_.group_rows[k + 1];
      for (int t = begin; t < end; ++t) {
        for (int h = 0; h < c_.heads; ++h) {
          const std::size_t index = static_cast<std::size_t>(h) * c_.rows() + t;
          if (!std::isfinite(self_lse[index])) continue;  // no keys
          const double delta = dot(&in_.dout[at(t, h)], &out[at(t, h)]);
          for (int j = begin; j < last(t, end); ++j) {
            const double p = std::exp(score(t, h, j) - lse[index]);
            const double ds = p * (dot(&in_.dout[at(t, h)], &in_.v[key(j, h)]) - delta);
            for (int i = 0; i < c_.width; ++i) dq[at(t, h) + i] += c_.scale() * ds * in_.k[key(j, h) + i];
          }
        }
      }
    }
    return dq;
  }

  /// What the state adds to a softmax part, whose output and log-sum-exp may be any.
  NtkStatePart state_part(const std::vector<double>& self, const std::vector<double>& self_lse) const {
    NtkStatePart part;
    part.dq.assign(in_.q.size(), 0.0);
    part.dz.assign(in_.z.size(), 0.0);
    part.dden.assign(in_.den.size(), 0.0);
    const int constant = c_.map == StateMap::taylor1 ? 1 : 0;
    const double root = std::sqrt(c_.scale());
    for (int k = 0; k < c_.groups(); ++k) {
      for (int t = c_.group_rows[k]; t < c_.group_rows[k + 1]; ++t) {
        for (int h = 0; h < c_.heads; ++h) {
          const double *q = &in_.q[at(t, h)], *dout = &in_.dout[at(t, h)],
                       self_mass = self_lse[static_cast<std::size_t>(h) * c_.rows() + t];
          const std::vector<double> phi = features(q);
          const std::size_t state = state_of(k, h) * c_.features();
          std::vector<double> products(phi.size());
          for (std::size_t m = 0; m < phi.size(); ++m) products[m] = dot(dout, &in_.z[(state + m) * c_.width]);
          const double mass = std::inner_product(phi.begin(), phi.end(), &in_.den[state], 0.0);
          const double* center = c_.centered ? &in_.center[state_of(k, h) * c_.width] : nullptr;
          const double shift = center != nullptr ? c_.scale() * dot(q, center) : 0.0;
          if (constant == 1 && mass <= 0.0) continue;
          const bool keys = std::isfinite(self_mass);
          if (!keys && mass == 0.0) continue;
          const double of_state = shift + std::log(mass), top = keys ? std::max(self_mass, of_state) : of_state,
                       lse = top + std::log((keys ? std::exp(self_mass - top) : 0.0) + std::exp(of_state - top)),
                       g = std::exp(shift - lse),
                       delta = (keys ? std::exp(self_mass - lse) * dot(dout, &self[at(t, h)]) : 0.0) +
                               g * std::inner_product(phi.begin(), phi.end(), products.begin(), 0.0);
          double dshift = 0.0;
          for (std::size_t m = 0; m < phi.size(); ++m) {
            const double dphi = g * (products[m] - delta * in_.den[state + m]),
                         y = static_cast<int>(m) < constant ? 1.0 : root * q[m - constant];
            dshift += phi[m] * dphi;
            if (static_cast<int>(m) >= constant)
              part.dq[at(t, h) + m - constant] += root * (constant == 1 || y > 0 ? 1.0 : phi[m]) * dphi;
            part.dden[state + m] -= phi[m] * g * delta;
            part.dden_squares += std::pow(phi[m] * g * delta, 2);
            for (int i = 0; i < c_.width; ++i) part.dz[(state + m) * c_.width + i] += phi[m] * g * dout[i];
          }
          for (int i = 0; i < c_.width && center != nullptr; ++i)
            part.dq[at(t, h) + i] += c_.scale() * dshift * center[i];
        }
      }
    }
    return part;
  }

 private:
  std::size_t state_of(int k, int h) const {
    return static_cast<std::size_t>(k) * c_.state_heads + h / (c_.heads / c_.state_heads);
  }
  std::vector<double> features(const double* q) const {
    const int constant = c_.map == StateMap::taylor1 ? 1 : 0;
    std::vector<double> phi(c_.features(), 1.0);
    for (int i = 0; i < c_.width; ++i) {
      const double y = std::sqrt(c_.scale()) * q[i];
      phi[i + constant] = constant == 1 ? y : y > 0 ? y + 1.0 : std::exp(y);
    }
    return phi;
  }
  std::size_t at(int t, int h) const { return (static_cast<std::size_t>(t) * c_.heads + h) * c_.width; }
  std::size_t key(int j, int h) const {
    return (static_cast<std::size_t>(j) * c_.key_heads + h / (c_.heads / c_.key_heads)) * c_.width;
  }
  double dot(const double* x, const double* y) const { return std::inner_product(x, x + c_.width, y, 0.0); }
  double score(int t, int h, int j) const { return c_.scale() * dot(&in_.q[at(t, h)], &in_.k[key(j, h)]); }
  int last(int t, int end) const { return c_.causal ? t + 1 : end; }

  void row(NtkReference& r, int k, int begin, int end, int t, int h) const {
    const int width = c_.width, features = c_.features();
    const double* q = &in_.q[at(t, h)];
    std::vector<double> s;
    for (int j = begin; j < last(t, end); ++j) s.push_back(score(t, h, j));
    const double top = *std::max_element(s.begin(), s.end());

    // The state: phi, a, b, c. `unit` is what weights are measured in.
    const std::size_t state = k < 0 ? 0 : state_of(k, h);
    const double* z = k < 0 ? nullptr : &in_.z[state * features * width];
    const double* den = k < 0 ? nullptr : &in_.den[state * features];
    const double* center = k < 0 || !c_.centered ? nullptr : &in_.center[state * width];
    const std::vector<double> phi = this->features(q);
    std::vector<double> a(width, 0.0);
    const double shift = center != nullptr ? c_.scale() * dot(q, center) : 0.0;
    double b = 0.0;
    for (int m = 0; m < features && k >= 0; ++m) {
      b += phi[m] * den[m];
      for (int i = 0; i < width; ++i) a[i] += phi[m] * z[m * width + i];
    }
    bool on = k >= 0;
    if (on && c_.map == StateMap::taylor1 && b <= 0.0) {
      on = false;
      ++r.gated;
    }
    const double unit = on && b > 0.0 ? std::max(top, std::log(b) + shift) : top;
    double self_mass = 0.0;
    for (const double x : s) self_mass += std::exp(x - unit);
    const double factor = on ? std::exp(shift - unit) : 0.0, mass = self_mass + factor * (on ? b : 0.0);
    const std::size_t index = static_cast<std::size_t>(h) * c_.rows() + t;
    r.lse[index] = unit + std::log(mass);
    double top_mass = 0.0;
    for (const double x : s) top_mass += std::exp(x - top);
    r.self_lse[index] = top + std::log(top_mass);
    for (std::size_t j = 0; j < s.size(); ++j) {
      const double* v = &in_.v[key(begin + static_cast<int>(j), h)];
      for (int i = 0; i < width; ++i) {
        r.out[at(t, h) + i] += std::exp(s[j] - unit) / mass * v[i];
        r.self[at(t, h) + i] += std::exp(s[j] - top) / top_mass * v[i];
      }
    }
    for (int i = 0; i < width && on; ++i) r.out[at(t, h) + i] += factor / mass * a[i];
  }

  const NtkCase& c_;
  const NtkInputs& in_;
};

/// Of the gradient of den, beside the root of its squared terms.
inline double dden_error(const std::vector<double>& found, const std::vector<double>& expected, const NtkReference& r) {
  double error = 0.0;
  for (std::size_t i = 0; i < found.size(); ++i) error += std::pow(found[i] - expected[i], 2);
  return std::sqrt(error / r.dden_squares);
}

}  // namespace peft::cuda
