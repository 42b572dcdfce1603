#pragma once
/// Runs through the whole trainer, and how far apart the adapters are that they end with.

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "peft/interop/adapter_folder.h"
#include "peft/train/trainer.h"

namespace peft {

/// A metric of a run that must succeed.
inline double train(const RunConfig& config, const std::string& metric) {
  const JobResult result = train_bank({config}, {}).front();
  EXPECT_EQ(result.code, ExitCode::done) << result.message;
  return result.metrics.at(metric).get<double>();
}

/// Of two runs' last adapters. A bias that moves all outputs of a softmax alike (those of choices, of the tokens of a text) is set aside: its
/// gradient is rounding, of which AdamW makes whole steps.
inline double difference_of(const RunConfig& a, const RunConfig& b) {
  double worst = 0.0;
  const AdapterFiles left = read_adapter(a.output + "/last"), right = read_adapter(b.output + "/last");
  EXPECT_EQ(left.tensors.size(), right.tensors.size());
  for (const auto& [name, tensor] : left.tensors) {
    if ((name.ends_with("classifier.bias") && tensor.numel() == 1) || name.ends_with("qa_outputs.bias")) continue;
    const at::Tensor x = tensor.to(at::kDouble), y = right.tensors.at(name).to(at::kDouble);
    worst = std::max(worst, (x - y).norm().item<double>() / std::max(1e-12, x.norm().item<double>()));
  }
  return worst;
}

}  // namespace peft
