#include "src/train/doctor_measure.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "peft/objectives/objective.h"
#include "peft/train/batch.h"

namespace peft {
namespace {

constexpr int64_t kSampled = 64;    // values of a group: their relative change is that of all within a tenth or so
constexpr int64_t kProbeTexts = 8;  // a pass over them is a small part of any evaluation

}  // namespace

DataFacts facts_of(const JobData& data, const TaskConfig& task) {
  const SplitStatistics& statistics = data.train->statistics;
  DataFacts facts{.examples = data.train->size(),
                  .truncated = statistics.truncated_examples,
                  .lost_tokens = statistics.lost_tokens,
                  .max_length = task.max_length};
  if (data.train->target_kind == TargetKind::class_id) {  // one of several; sets may share a class, choices have none
    facts.label_counts = statistics.label_counts;
    facts.labels = data.dataset->task.labels;
  }
  return facts;
}

Doctor::Sample sample_values(const Method& method, int64_t k) {
  std::map<std::string, int64_t> tensors;
  for (const Parameter& p : method.parameters()) ++tensors[p.group];
  std::vector<at::Tensor> parts;
  std::vector<std::pair<std::string, int64_t>> sizes;
  for (const Parameter& p : method.parameters()) {
    const at::Tensor values = p.value.detach()[k].flatten();
    const int64_t wanted = (kSampled + tensors[p.group] - 1) / tensors[p.group];
    const int64_t stride = std::max<int64_t>(1, values.numel() / wanted);
    parts.push_back(values.slice(0, 0, stride * wanted, stride).to(at::kDouble));
    sizes.emplace_back(p.group, parts.back().numel());
  }
  const at::Tensor all = at::cat(parts).cpu();
  Doctor::Sample sample;
  const auto* next = all.const_data_ptr<double>();
  for (const auto& [group, count] : sizes) {
    sample[group].insert(sample[group].end(), next, next + count);
    next += count;
  }
  return sample;
}

Signs measure_signs(const Bank& bank, int64_t k, const JobData& data) {
  if (objective_of(data.dataset->task).logit_rows() != LogitRows::sequences) return {};
  const EncodedSplit& split = data.dev != nullptr ? *data.dev : *data.train;
  std::vector<BatchExample> texts;
  int64_t ordinal = 0;
  for (int64_t e = 0; e < std::min(kProbeTexts, split.size()); ++e) {
    texts.push_back({&split, e, k, ordinal});
    ordinal += split.sequences(e);
  }
  return bank.method->measure(k, make_input(texts, bank.method->adapters(), bank.model.device()));
}

}  // namespace peft
