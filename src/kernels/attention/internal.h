#pragma once
/// What the attention routes share. Private to src/kernels.

#include <ATen/Parallel.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/ivalue.h>

#include <memory>

#include "peft/kernels/attention.h"

namespace peft {

/// Attention with explicit probabilities, one sequence at a time, and a hand-written backward that recomputes them: the route of other
/// devices for what their operators do not know (dropout on probabilities, position biases, windows).
at::Tensor attention_explicit(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionArgs& args);

/// Our packed attention on the CPU (src/kernels/cpu), which serves everything.
at::Tensor attention_cpu(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionArgs& args);

/// Carries the arguments through an autograd node.
struct HeldArgs : torch::CustomClassHolder {
  explicit HeldArgs(std::shared_ptr<const AttentionArgs> held) : args(std::move(held)) {}
  std::shared_ptr<const AttentionArgs> args;
  static at::IValue wrap(std::shared_ptr<const AttentionArgs> args) {
    return at::IValue::make_capsule(c10::make_intrusive<HeldArgs>(std::move(args)));
  }
  static const AttentionArgs& unwrap(const at::IValue& value) {
    return *static_cast<HeldArgs*>(value.toCapsule().get())->args;
  }
};

/// Runs `body(b)` for every sequence that has queries, spread over the threads of the CPU. Workers do not inherit the caller's dispatch
/// state, hence the guard inside.
template <class Body>
void for_sequences(const PackedBatch& queries, const Body& body) {
  const auto range = [&](int64_t first, int64_t last) {
    at::AutoDispatchBelowADInplaceOrView guard;
    for (int64_t b = first; b < last; ++b) {
      if (queries.length(b) > 0) body(b);
    }
  };
  if (queries.device().is_cpu()) {
    at::parallel_for(0, queries.sequences(), 1, range);
  } else {
    range(0, queries.sequences());
  }
}

/// The type of sums and log-sum-exps.
inline at::ScalarType accumulation_type(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

/// Inputs of an autograd node that may be absent: an undefined tensor cannot be one. Prefixes take the type of q, states that of sums.
struct SourceInputs {
  std::optional<at::Tensor> prefix_k, prefix_v, z, den, bias;
};
inline SourceInputs source_inputs(const AttentionArgs& args, const at::Tensor& q) {
  const auto input = [](const at::Tensor& x, at::ScalarType type) {
    return x.defined() ? std::optional(x.to(type)) : std::nullopt;
  };
  return {input(args.prefix.k_KPGD, q.scalar_type()), input(args.prefix.v_KPGD, q.scalar_type()),
          input(args.state.z_KHMD, accumulation_type(q)), input(args.state.den_KHM, accumulation_type(q)),
          input(args.bias.table_NH, accumulation_type(q))};
}

/// Of the scores of sequence b with its prefix in front, where `prefix` pairs stand there. A state has no position.
at::Tensor position_buckets(const AttentionArgs& args, int64_t b, int64_t prefix,
                            const at::TensorOptions& options);  ///< [n, P+m]
/// args.bias with the table in the type of `options`; differentiable in it.     [H, n, P+m]
at::Tensor position_bias(const AttentionArgs& args, const at::Tensor& table_NH, int64_t b, int64_t prefix,
                         const at::TensorOptions& options);
/// The bucket of each distance (key minus query) from -zero on, int32 on the device of the table.     [span]
at::Tensor distance_buckets(const AttentionArgs& args, int64_t zero, int64_t span);
/// args.bias, frozen, of the distances (key minus query) from -zero on.     [H, span]
at::Tensor distance_bias(const AttentionArgs& args, int64_t zero, int64_t span, const at::TensorOptions& options);
/// Keys that left args.window.     bool [n, P+m]
at::Tensor outside_window(const AttentionArgs& args, int64_t b, int64_t prefix, const at::TensorOptions& options);
/// Keys behind their query, which args.causal hides. No prefix pair is.     bool [n, m]
at::Tensor behind_query(const AttentionArgs& args, int64_t b, const at::TensorOptions& options);

/// Which prefix table serves sequence b.
inline int64_t prefix_table(const AttentionArgs& args, int64_t b) {
  return args.prefix.per_sequence ? b : args.queries->adapter(b);
}

}  // namespace peft
