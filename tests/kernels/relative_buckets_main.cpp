/// test-relative-buckets: one JSON object {"first", "last", "bidirectional", "buckets", "max_distance"} per line of stdin; answers with the
/// buckets of the distances first..last.

#include <ATen/ops/arange.h>

#include <iostream>
#include <string>

#include "peft/base/json.h"
#include "peft/kernels/attention.h"

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    const peft::Json in = peft::Json::parse(line);
    const at::Tensor distance = at::arange(in["first"].get<int64_t>(), in["last"].get<int64_t>() + 1, at::kLong),
                     found = peft::relative_buckets(distance, in["bidirectional"], in["buckets"], in["max_distance"]);
    const auto* data = found.const_data_ptr<int64_t>();
    std::cout << peft::Json(std::vector<int64_t>(data, data + found.numel())).dump() << "\n";
  }
}
