#pragma once
/// How two runs' adapters are compared.

#include "peft/interop/adapter_folder.h"
#include "tests/support/method_configs.h"
#include "tests/support/tiny_task.h"

namespace peft {

/// The values of a method's config as a test's name.
inline std::string label_of(const Json& method) {
  std::string label;
  for (const auto& [key, value] : method.items()) {
    for (const char c : key + value.dump()) {
      if (std::isalnum(static_cast<unsigned char>(c)) != 0) label += c;
    }
  }
  return label;
}

/// Largest difference of two adapters' tensors, relative to the larger norm of each tensor.
inline double difference(const std::filesystem::path& a, const std::filesystem::path& b) {
  const AdapterFiles left = read_adapter(a), right = read_adapter(b);
  EXPECT_EQ(left.tensors.size(), right.tensors.size());
  EXPECT_EQ(left.trained.size(), right.trained.size());
  double worst = 0.0;
  for (const auto& [ours, theirs] :
       {std::pair{&left.tensors, &right.tensors}, std::pair{&left.trained, &right.trained}}) {
    for (const auto& [name, tensor] : *ours) {
      const at::Tensor x = tensor.to(at::kDouble), y = theirs->at(name).to(at::kDouble);
      worst = std::max(worst, (x - y).norm().item<double>() / std::max(1e-12, x.norm().item<double>()));
    }
  }
  return worst;
}

}  // namespace peft
