#include <ATen/ATen.h>
#include <fmt/format.h>

#include "src/kernels/attention/internal.h"
#include "src/kernels/attention/source.h"
#include "src/kernels/attention/state_internal.h"

namespace peft {
namespace {

/// Where the rows of [prefix tables ; keys] go, so that every sequence has its prefix in front of its own keys.
struct Assembly {
  Batch rows;                      ///< of the result
  at::Tensor joined, self, front;  ///< of the result: rows of [tables ; keys]; in the result: own rows, prefix rows
};

Assembly assembly_of(const AttentionArgs& args) {
  const PackedBatch& keys = *args.keys;
  const int64_t tables = args.prefix.k_KPGD.size(0), prefix = args.prefix.k_KPGD.size(1);
  std::vector<int64_t> joined, self, front;
  for (int64_t b = 0; b < keys.sequences(); ++b) {
    for (int64_t p = 0; p < prefix; ++p) {
      front.push_back(static_cast<int64_t>(joined.size()));
      joined.push_back(prefix_table(args, b) * prefix + p);
    }
    for (int64_t r = keys.begin(b); r < keys.begin(b) + keys.length(b); ++r) {
      self.push_back(static_cast<int64_t>(joined.size()));
      joined.push_back(tables * prefix + r);
    }
  }
  const auto index = [&](const std::vector<int64_t>& x) {
    return at::tensor(at::ArrayRef<int64_t>(x), at::kLong).to(keys.device());
  };
  return {keys.lengthened(prefix), index(joined), index(self), index(front)};
}

class StockPrefix final : public SourceRoute {
 public:
  explicit StockPrefix(const AttentionArgs& args)
      : keys_(args.keys), per_sequence_(args.prefix.per_sequence), prefix_(args.prefix.k_KPGD.size(1)) {
    const auto name = fmt::format("stock prefix {}{}", prefix_, per_sequence_ ? " of sequences" : "");
    assembly_ = keys_->derived<Assembly>(name, [&] { return assembly_of(args); });
  }

  Batch key_rows(const Batch& /*self*/) const override { return assembly_->rows; }
  std::array<at::Tensor, 2> keys_and_values(const at::Tensor& k, const at::Tensor& v,
                                            const SourceTensors& source) override {
    return {join(source.prefix_k, k), join(source.prefix_v, v)};
  }
  SourceTensors backward(const MergedAttention& /*merged*/, const SourceTensors& /*source*/,
                         std::array<at::Tensor, 3>& gradients) override {
    auto& [dq, dk, dv] = gradients;
    SourceTensors result{prefix_rows(dk), prefix_rows(dv), {}, {}};
    dk = dk.index_select(0, assembly_->self);
    dv = dv.index_select(0, assembly_->self);
    return result;
  }

 private:
  at::Tensor join(const at::Tensor& prefix_KPGD, const at::Tensor& x_TGD) const {
    return at::cat({prefix_KPGD.flatten(0, 1), x_TGD}).index_select(0, assembly_->joined);
  }
  /// Sums over the sequences of each table, in float32 and one order.
  at::Tensor prefix_rows(const at::Tensor& dx) const {
    at::Tensor parts_BPGD = dx.index_select(0, assembly_->front).unflatten(0, {-1, prefix_});
    if (per_sequence_) return parts_BPGD;
    std::vector<at::Tensor> sums;
    const auto& groups = keys_->group_sequences();
    for (std::size_t k = 0; k + 1 < groups.size(); ++k) {
      const at::Tensor self = parts_BPGD.narrow(0, groups[k], groups[k + 1] - groups[k]);
      sums.push_back(self.to(accumulation_type(dx)).sum(0));
    }
    return at::stack(sums);
  }

  Batch keys_;
  bool per_sequence_;
  int64_t prefix_;
  std::shared_ptr<const Assembly> assembly_;
};

class StockState final : public SourceRoute {
 public:
  explicit StockState(const AttentionArgs& args) : args_(args) {}

  at::Tensor merge(const at::Tensor& q, const at::Tensor& out, const at::Tensor& lse_HT,
                   const SourceTensors& source) override {
    merge_state(out, lse_HT.t().unsqueeze(-1), q, source.z, source.den, args_);
    return out;
  }
  SourceTensors backward(const MergedAttention& m, const SourceTensors& source,
                         std::array<at::Tensor, 3>& gradients) override {
    const StateGradients state =
        state_backward(m.dout, m.out, m.lse_HT.t().unsqueeze(-1), m.q, source.z, source.den, args_);
    at::Tensor& dq = gradients[0];
    dq = (dq.to(state.dq_THD.scalar_type()) + state.dq_THD).to(dq.scalar_type());
    return {{}, {}, state.dz_KHMD, state.dden_KHM};
  }

 private:
  AttentionArgs args_;
};

}  // namespace

std::unique_ptr<SourceRoute> stock_source(const AttentionArgs& args) {
  if (args.prefix.defined()) return std::make_unique<StockPrefix>(args);
  if (args.state.defined()) return std::make_unique<StockState>(args);
  return nullptr;
}

}  // namespace peft
