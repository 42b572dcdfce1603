#pragma once
/// Scalar mathematics that kernels share with their tests: host and device, no torch, no CUDA header.

#include <math.h>

#include <cstdint>

#ifdef __CUDACC__
#define PEFT_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define PEFT_HOST_DEVICE inline
#endif

namespace peft::cuda {

enum class ScheduleKind : int32_t { constant, constant_with_warmup, linear, cosine };

/// Factor of the learning rate before update number `step` (from 0), as transformers' schedulers have it.
PEFT_HOST_DEVICE double schedule_factor(ScheduleKind kind, int64_t step, int64_t warmup, int64_t total) {
  if (kind == ScheduleKind::constant) return 1.0;
  if (step < warmup) return static_cast<double>(step) / static_cast<double>(warmup);
  if (kind == ScheduleKind::constant_with_warmup) return 1.0;
  const int64_t left = total > warmup ? total - warmup : 1;
  const double progress = static_cast<double>(step - warmup) / static_cast<double>(left);
  const double factor =
      kind == ScheduleKind::cosine ? 0.5 * (1.0 + cos(3.14159265358979323846 * progress)) : 1.0 - progress;
  return factor > 0.0 ? factor : 0.0;
}

/// e^x, 2 ulp and |x| 2^-24 relative: exp2f is one instruction of the GPU.
PEFT_HOST_DEVICE float exponential(float x) { return exp2f(x * 1.44269504F); }

struct ValueAndSlope {
  float value, slope;
};

/// x P(N(0,1) < x) and its derivative. P(N < -a) = exp(-a^2 / 2) t poly(t), t = 1 / (1 + a / 4): a minimax fit over all a >= 0, relative
/// error 3.4e-8. Unlike 1 + erf(x / sqrt 2) it keeps its relative precision where the result is small, and value and slope share e^x.
PEFT_HOST_DEVICE ValueAndSlope gelu(float x) {
  const float a = fabsf(x), t = 1.0F / (1.0F + 0.25F * a), density = exponential(-0.5F * a * a);
  float poly = 0.01978498176F;
  poly = poly * t - 0.08089045152F;
  poly = poly * t + 0.09562136682F;
  poly = poly * t - 0.03174186286F;
  poly = poly * t + 0.06371347732F;
  poly = poly * t + 0.05897007786F;
  poly = poly * t + 0.08160414856F;
  poly = poly * t + 0.09346624131F;
  poly = poly * t + 0.09973643722F;
  poly = poly * t + 0.09973556664F;
  const float tail = density * (t * poly), probability = x < 0.0F ? tail : 1.0F - tail;
  return {x * probability, probability + x * (0.39894228F * density)};
}

/// 1 / (1 + e^-x) and 1 / (1 + e^x), both to a relative error.
struct Logistic {
  float p, rest;
};
PEFT_HOST_DEVICE Logistic logistic(float x) {
  const float e = exponential(-fabsf(x)), larger = 1.0F / (1.0F + e), smaller = e * larger;
  if (x < 0.0F) return {smaller, larger};
  return {larger, smaller};
}

/// GELU's tanh form: 0.5 (1 + tanh u) is the logistic function of 2u, u = sqrt(2 / pi) (x + 0.044715 x^3).
PEFT_HOST_DEVICE ValueAndSlope gelu_tanh(float x) {
  constexpr float kTwice = 1.595769122F, kCubic = 0.044715F;
  const float square = x * x;
  const Logistic gate = logistic(kTwice * x * (1.0F + kCubic * square));
  return {x * gate.p, gate.p + x * gate.p * gate.rest * kTwice * (1.0F + 3.0F * kCubic * square)};
}

PEFT_HOST_DEVICE ValueAndSlope silu(float x) {
  const Logistic gate = logistic(x);
  return {x * gate.p, gate.p * (1.0F + x * gate.rest)};
}

/// NaN stays NaN.
PEFT_HOST_DEVICE ValueAndSlope relu(float x) { return {x < 0.0F ? 0.0F : x, x > 0.0F ? 1.0F : 0.0F}; }

enum class Activation : int32_t { gelu, gelu_tanh, relu, silu };

/// What a caller does not use of the two is not computed.
template <Activation Kind>
PEFT_HOST_DEVICE ValueAndSlope activate(float x) {
  if constexpr (Kind == Activation::gelu) return gelu(x);
  if constexpr (Kind == Activation::gelu_tanh) return gelu_tanh(x);
  if constexpr (Kind == Activation::relu) return relu(x);
  return silu(x);
}

}  // namespace peft::cuda
