#include "peft/kernels/attention.h"

#include <ATen/core/Tensor.h>
#include <fmt/ranges.h>

#include "peft/base/error.h"
#include "peft/kernels/custom_kernels.h"
#include "src/kernels/attention/custom_packed.h"
#include "src/kernels/attention/internal.h"
#include "src/kernels/attention/select.h"
#include "src/kernels/attention/varlen.h"

namespace peft {
namespace {

void check_state(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionArgs& args) {
  const LinearState& state = args.state;
  const int64_t adapters = args.queries->adapters(), features = feature_count(state.map, q.size(2)),
                heads = state.z_KHMD.dim() == 4 && state.z_KHMD.size(1) == k.size(1) ? k.size(1) : q.size(1);
  const auto has_shape = [](const at::Tensor& x, const std::vector<int64_t>& shape) {
    return x.defined() && x.sizes() == shape;
  };
  if (!has_shape(state.z_KHMD, {adapters, heads, features, v.size(2)}) ||
      !has_shape(state.den_KHM, {adapters, heads, features}) ||
      (state.center_KHD.defined() && !has_shape(state.center_KHD, {adapters, heads, q.size(2)}))) {
    throw_error("attention: state z {}, expected {}x{}x{}x{}, with den and center to match",
                fmt::join(state.z_KHMD.sizes(), "x"), adapters, heads, features, v.size(2));
  }
}

void check(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionArgs& args) {
  const bool shapes = q.dim() == 3 && k.dim() == 3 && v.dim() == 3 && q.size(2) == k.size(2) &&
                      k.size(1) == v.size(1) && k.size(0) == v.size(0) && k.size(1) > 0 && q.size(1) % k.size(1) == 0;
  const bool rows = shapes && q.size(0) == args.queries->rows() && k.size(0) == args.keys->rows() &&
                    args.queries->sequences() == args.keys->sequences();
  if (!rows) {
    throw_error("attention: q {}, k {}, v {} do not fit {} query rows, {} key rows", fmt::join(q.sizes(), "x"),
                fmt::join(k.sizes(), "x"), fmt::join(v.sizes(), "x"), args.queries->rows(), args.keys->rows());
  }
  if (args.prefix.defined() && args.state.defined())
    throw_error("attention: found a prefix and a state, expected one of them");
  if (args.state.defined()) check_state(q, k, v, args);
  if (args.prefix.defined()) {
    const at::Tensor &pk = args.prefix.k_KPGD, &pv = args.prefix.v_KPGD;
    const std::vector<int64_t> expected{args.prefix.per_sequence ? args.queries->sequences() : args.queries->adapters(),
                                        pk.dim() == 4 ? pk.size(1) : 0, k.size(1), k.size(2)};
    if (pk.sizes() != expected || !pv.defined() || pv.sizes() != expected) {
      throw_error("attention: prefix keys {}, values {}, expected {}", fmt::join(pk.sizes(), "x"),
                  pv.defined() ? fmt::format("{}", fmt::join(pv.sizes(), "x")) : "undefined", fmt::join(expected, "x"));
    }
  }
  if (args.bias.defined() && (args.bias.table_NH.dim() != 2 || args.bias.table_NH.size(1) != q.size(1))) {
    throw_error("attention: bias table {}, expected buckets x {} heads", fmt::join(args.bias.table_NH.sizes(), "x"),
                q.size(1));
  }
}

/// Our kernels serve the CPU, too, in programs that link their emulator.
bool on_gpu(at::Device device, AttentionImplementation wish) {
  return device.is_cuda() || (wish == AttentionImplementation::packed && custom_kernels_serve(device));
}

}  // namespace

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionArgs& args) {
  check(q, k, v, args);
  if (args.prefix.defined() && args.prefix.k_KPGD.size(1) == 0) {  // which not every operator knows
    AttentionArgs bare = args;
    bare.prefix = {};
    return attention(q, k, v, bare);
  }
  if (args.causal && !hides_keys(args)) {  // of queries at the ends of their sequences, as pooled rows of decoders are
    AttentionArgs bare = args;
    bare.causal = false;
    return attention(q, k, v, bare);
  }
  const AttentionChoice choice = select_attention({.wish = args.implementation,
                                                   .cuda = on_gpu(q.device(), args.implementation),
                                                   .type = q.scalar_type(),
                                                   .width = q.size(2),
                                                   .keys = args.keys->longest(),
                                                   .dropout = args.dropout.active(),
                                                   .state = args.state.defined(),
                                                   .positions = position_support(args)});
  const auto varlen = [&](const VarlenOps& ops) {
    return attention_varlen(q, k, v, args, ops, choice.custom_source ? custom_source(args, q) : stock_source(args));
  };
  switch (choice.backend) {
    case AttentionBackend::reference:
      return attention_reference(q, k, v, args);
    case AttentionBackend::cpu:
      return attention_cpu(q, k, v, args);
    case AttentionBackend::flash:
      return varlen(flash_ops());
    case AttentionBackend::cudnn:
      return varlen(cudnn_ops());
    case AttentionBackend::efficient:
      return varlen(efficient_ops());
    case AttentionBackend::packed:
      return attention_packed(q, k, v, args);
    case AttentionBackend::explicit_:
      break;
  }
  return attention_explicit(q, k, v, args);
}

std::string attention_backend(AttentionImplementation implementation, at::Device device, at::ScalarType type,
                              int64_t width) {
  constexpr int64_t kMany = 1 << 20;
  const AttentionChoice choice = select_attention(
      {.wish = implementation, .cuda = on_gpu(device, implementation), .type = type, .width = width, .keys = kMany});
  return fmt::format("{}{}", name_of(choice.backend),
                     choice.custom_source ? ", our kernels for prefixes, states and short sequences" : "");
}

}  // namespace peft
