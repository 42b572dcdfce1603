#include "benchmarks/kernels/harness.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/core/Event.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
#include <cmath>
#include <memory>

namespace peft::bench {
namespace {

constexpr int kLaunches = 20, kWarmups = 20, kSamples = 50;
constexpr double kCacheBytes = 50e6;

/// Launches of one variant over its input sets, captured once: what is timed has no host work in it.
class Captured {
 public:
  explicit Captured(std::function<void(int launch)> run) {
    const c10::cuda::CUDAStreamGuard guard(stream_);
    for (int i = 0; i < kLaunches; ++i) run(i);  // library handles, allocations, and the plans of every input set
    stream_.synchronize();
    graph_.capture_begin();
    for (int i = 0; i < kLaunches; ++i) run(i);
    graph_.capture_end();
  }
  /// Microseconds of one launch.
  double time() {
    const c10::cuda::CUDAStreamGuard guard(stream_);
    c10::Event begin(c10::DeviceType::CUDA, c10::EventFlag::BACKEND_DEFAULT),
        end(c10::DeviceType::CUDA, c10::EventFlag::BACKEND_DEFAULT);
    begin.record(stream_.unwrap());
    graph_.replay();
    end.record(stream_.unwrap());
    end.synchronize();
    return begin.elapsedTime(end) * 1e3 / kLaunches;
  }

 private:
  c10::cuda::CUDAStream stream_ = c10::cuda::getStreamFromPool();
  at::cuda::CUDAGraph graph_;
};

double percentile(std::vector<double> x, double share) {
  std::sort(x.begin(), x.end());
  return x[static_cast<std::size_t>(share * static_cast<double>(x.size() - 1) + 0.5)];
}

/// Samples of all, taking turns.
std::vector<std::vector<double>> interleaved(std::vector<std::unique_ptr<Captured>>& all) {
  std::vector<std::vector<double>> times(all.size());
  for (int sample = -kWarmups; sample < kSamples; ++sample) {
    for (std::size_t i = 0; i < all.size(); ++i) {
      const double us = all[i]->time();
      if (sample >= 0) times[i].push_back(us);
    }
  }
  return times;
}

/// The worst relative L2 error of the results.
double error_of(const std::vector<at::Tensor>& found, const std::vector<at::Tensor>& expected) {
  double worst = found.size() == expected.size() ? 0.0 : std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < std::min(found.size(), expected.size()); ++i) {
    const at::Tensor e = expected[i].to(at::kDouble), difference = found[i].to(at::kDouble) - e;
    const double norm = e.norm().item<double>();
    const double error = difference.norm().item<double>() / (norm > 0.0 ? norm : 1.0);
    worst = std::isfinite(error) ? std::max(worst, error) : std::numeric_limits<double>::infinity();
  }
  return worst;
}

double median_us(const std::function<void(int)>& run) {
  std::vector<std::unique_ptr<Captured>> one;
  one.push_back(std::make_unique<Captured>(run));
  return percentile(interleaved(one)[0], 0.5);
}

}  // namespace

Batch batch_on_gpu(int64_t sequences, int64_t length, int64_t adapters) {
  std::vector<PackedBatch::Sequence> all;
  for (int64_t b = 0; b < sequences; ++b) all.push_back({length, b * adapters / sequences, b});
  return std::make_shared<const PackedBatch>(all, adapters, at::Device(at::kCUDA, 0));
}

int sets_beyond_cache(double bytes) {
  return std::clamp(static_cast<int>(std::ceil(2.0 * kCacheBytes / bytes)), 1, kLaunches);
}

Json measure_ceilings() {
  constexpr int64_t kBytes = int64_t{1} << 30, kSize = 8192;
  at::Tensor from = at::empty({kBytes}, on_gpu(at::kByte)).random_(), to = at::empty_like(from);
  const double copy_us = median_us([&](int) { to.copy_(from); });
  const at::Tensor a = at::randn({kSize, kSize}, on_gpu(at::kBFloat16)), b = at::randn_like(a);
  at::Tensor c = at::empty_like(a);
  const double gemm_us = median_us([&](int) { at::mm_out(c, a, b); });
  return {{"copy_TBps", 2.0 * static_cast<double>(kBytes) / copy_us * 1e-6},
          {"gemm_bf16_TFLOPS", 2.0 * std::pow(static_cast<double>(kSize), 3) / gemm_us * 1e-6}};
}

Json measure(const Case& c, double copy_bytes_per_second) {
  Json rows = Json::array();
  std::vector<std::unique_ptr<Captured>> captured;
  const std::vector<at::Tensor> expected = c.expected();
  for (const Variant& variant : c.variants) {
    const double error = error_of(variant.run(0), expected);
    Json row{{"impl", variant.impl}};
    row["rel_l2"] = std::isfinite(error) ? Json(error) : Json("not finite");
    if (!(error <= c.tolerance)) {
      row["refused"] = "wrong result";
    } else {
      captured.push_back(std::make_unique<Captured>([&](int launch) { variant.run(launch % c.sets); }));
    }
    rows.push_back(row);
  }
  const auto times = interleaved(captured);
  const double floor_us = c.bytes / copy_bytes_per_second * 1e6;
  std::size_t timed = 0;
  for (Json& row : rows) {
    if (row.contains("refused")) continue;
    const std::vector<double>& us = times[timed++];
    const double median = percentile(us, 0.5);
    row.update({{"us_median", median},
                {"us_p10", percentile(us, 0.1)},
                {"us_p90", percentile(us, 0.9)},
                {"n", us.size()},
                {"bytes", c.bytes},
                {"floor_us", floor_us},
                {"pct_floor", 100.0 * floor_us / median}});
  }
  Json ratios = Json::object();
  if (rows[0].contains("us_median")) {
    for (std::size_t i = 1; i < rows.size(); ++i) {
      if (rows[i].contains("us_median"))
        ratios[rows[i]["impl"].get<std::string>()] =
            rows[i]["us_median"].get<double>() / rows[0]["us_median"].get<double>();
    }
  }
  return {{"bench", c.bench},
          {"case", c.shape},
          {"rows", rows},
          {"ratio_vs", ratios},
          {"predicted_ratio", c.predicted_ratio}};
}

}  // namespace peft::bench
