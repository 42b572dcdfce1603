#include <algorithm>
#include <stdexcept>
#include <string>

#include "src/kernels/cuda/kv_assembly/api.h"

namespace peft::cuda {
namespace {

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument("kv_assembly: " + what); }

void check(const KvPlanInput& in) {
  const auto sequences = in.cu.size() - 1, adapters = in.prefix_length.size();
  if (in.cu.empty() || in.cu.front() != 0) refuse("row offsets do not start at 0");
  for (std::size_t b = 0; b < sequences; ++b) {
    if (in.cu[b] > in.cu[b + 1]) refuse("sequence " + std::to_string(b) + " has a negative length");
  }
  if (in.adapter.size() != sequences) {
    refuse("found " + std::to_string(in.adapter.size()) + " adapter numbers, expected " + std::to_string(sequences));
  }
  for (std::size_t b = 0; b < sequences; ++b) {
    if (in.adapter[b] < -1 || in.adapter[b] >= static_cast<int32_t>(adapters)) {
      refuse("sequence " + std::to_string(b) + " has adapter " + std::to_string(in.adapter[b]) + " of " +
             std::to_string(adapters));
    }
  }
  for (std::size_t k = 0; k < adapters; ++k) {
    if (in.prefix_length[k] < 0 || in.prefix_length[k] > in.prefix) {
      refuse("adapter " + std::to_string(k) + " has a prefix of " + std::to_string(in.prefix_length[k]) +
             " rows, tables have " + std::to_string(in.prefix));
    }
  }
  if (!in.position.empty() && static_cast<int32_t>(in.position.size()) != in.cu.back()) {
    refuse("found " + std::to_string(in.position.size()) + " positions of " + std::to_string(in.cu.back()) + " rows");
  }
}

}  // namespace

KvPlan kv_plan(const KvPlanInput& in) {
  check(in);
  const auto sequences = static_cast<int32_t>(in.adapter.size()), rows = in.cu.back(),
             tables = in.per_sequence ? sequences : static_cast<int32_t>(in.prefix_length.size());
  KvPlan plan;
  plan.cu_k.push_back(0);
  plan.length.assign(tables, 0);
  if (!in.per_sequence) plan.length = in.prefix_length;
  std::vector<std::vector<int32_t>> begin_of_table(tables);
  for (int32_t b = 0; b < sequences; ++b) {
    const int32_t adapter = in.adapter[b], self = in.cu[b + 1] - in.cu[b], table = in.per_sequence ? b : adapter,
                  length = self > 0 && adapter >= 0 ? in.prefix_length[adapter] : 0;
    if (in.per_sequence) plan.length[b] = length;
    if (length > 0) begin_of_table[table].push_back(plan.cu_k.back());
    for (int32_t j = 0; j < length; ++j) plan.rows.push_back({~(table * in.prefix + j), in.rotate_prefix ? j : -1});
    for (int32_t i = 0; i < self; ++i) {
      const int32_t t = in.cu[b] + i,
                    position = (in.position.empty() ? i : in.position[t]) + (in.text_after_prefix ? length : 0);
      plan.rows.push_back({t, position});
    }
    plan.cu_k.push_back(static_cast<int32_t>(plan.rows.size()));
  }
  for (const KvRow& row : plan.rows) plan.positions = std::max(plan.positions, row.position + 1);
  plan.rows.resize(static_cast<std::size_t>(sequences) * in.prefix + rows, {kNoKvRow, -1});

  plan.first_sum.push_back(0);
  for (int32_t table = 0; table < tables; ++table) {
    const std::vector<int32_t>& begins = begin_of_table[table];
    const auto count = static_cast<int32_t>(begins.size()), first = static_cast<int32_t>(plan.prefix_begin.size());
    for (int32_t i = 0; i < count; i += kKvSumSequences)
      plan.sums.push_back({table, first + i, std::min(kKvSumSequences, count - i)});
    plan.prefix_begin.insert(plan.prefix_begin.end(), begins.begin(), begins.end());
    plan.first_sum.push_back(static_cast<int32_t>(plan.sums.size()));
  }
  plan.sums.resize((sequences + kKvSumSequences - 1) / kKvSumSequences + tables, {0, 0, 0});
  plan.prefix_begin.resize(sequences, 0);
  return plan;
}

}  // namespace peft::cuda
