#include "peft/data/sampler.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "peft/base/error.h"
#include "peft/base/rng.h"

namespace peft {
namespace {

int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

std::vector<int64_t> epoch_order(int64_t n, uint64_t seed, int64_t epoch) {
  const RngStream stream(seed, "order", static_cast<uint64_t>(epoch));
  std::vector<std::pair<uint32_t, int64_t>> keys(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < keys.size(); i += 4) {  // four words a block
    const PhiloxCounter words = stream.block(i / 4);
    for (std::size_t j = i; j < std::min(i + 4, keys.size()); ++j) keys[j] = {words[j - i], static_cast<int64_t>(j)};
  }
  std::sort(keys.begin(), keys.end());
  std::vector<int64_t> order;
  order.reserve(keys.size());
  for (const auto& [key, index] : keys) order.push_back(index);
  return order;
}

std::vector<int64_t> pack_tokens(std::span<const int64_t> order, std::span<const int64_t> lengths,
                                 int64_t batch_tokens) {
  std::vector<int64_t> ends;
  int64_t tokens = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const int64_t length = lengths[static_cast<std::size_t>(order[i])];
    if (i > 0 && tokens + length > batch_tokens) {
      ends.push_back(static_cast<int64_t>(i));
      tokens = 0;
    }
    tokens += length;
  }
  if (!order.empty()) ends.push_back(static_cast<int64_t>(order.size()));
  return ends;
}

struct Sampler::Plan {
  int64_t epoch;
  std::vector<int64_t> order;
  std::vector<int64_t> ends;  // of the micro-batches, as pack_tokens() gives them
};

Sampler::Sampler(std::vector<int64_t> lengths, const SamplerOptions& options)
    : lengths_(std::move(lengths)), options_(options) {
  if (lengths_.empty()) throw ConfigError("train: no examples to draw from");
  if (options.batch_size < 0 || options.batch_tokens < 0 || (options.batch_size > 0) == (options.batch_tokens > 0))
    throw_error<ConfigError>("train.batch_size {} and train.batch_tokens {}: expected exactly one of them above 0",
                             options.batch_size, options.batch_tokens);
  if (options.accumulation < 1)
    throw_error<ConfigError>("train.gradient_accumulation_steps: {}; expected at least 1", options.accumulation);
}

std::shared_ptr<const Sampler::Plan> Sampler::plan(int64_t epoch) const {
  if (latest_ && latest_->epoch == epoch) return latest_;
  auto fresh = std::make_shared<Plan>(Plan{epoch, epoch_order(size(), options_.seed, epoch), {}});
  if (options_.batch_tokens > 0) {
    fresh->ends = pack_tokens(fresh->order, lengths_, options_.batch_tokens);
  } else {
    for (int64_t begin = 0; begin < size(); begin += options_.batch_size)
      fresh->ends.push_back(std::min(begin + options_.batch_size, size()));
  }
  latest_ = std::move(fresh);
  return latest_;
}

int64_t Sampler::steps_in_epoch(int64_t epoch) const {
  if (options_.batch_size > 0) return ceil_divide(ceil_divide(size(), options_.batch_size), options_.accumulation);
  while (static_cast<int64_t>(steps_.size()) <= epoch) {
    const auto batches = static_cast<int64_t>(plan(static_cast<int64_t>(steps_.size()))->ends.size());
    steps_.push_back(ceil_divide(batches, options_.accumulation));
  }
  return steps_[static_cast<std::size_t>(epoch)];
}

Step Sampler::at(int64_t step) const {
  Step result;
  if (options_.batch_size > 0) {
    const int64_t steps = steps_in_epoch(0);
    result.epoch = step / steps;
    step %= steps;
  } else {
    for (; step >= steps_in_epoch(result.epoch); ++result.epoch) step -= steps_in_epoch(result.epoch);
  }
  const auto epoch = plan(result.epoch);
  const auto batches = static_cast<int64_t>(epoch->ends.size());
  for (int64_t b = step * options_.accumulation; b < std::min((step + 1) * options_.accumulation, batches); ++b) {
    const int64_t begin = b == 0 ? 0 : epoch->ends[static_cast<std::size_t>(b - 1)],
                  end = epoch->ends[static_cast<std::size_t>(b)];
    result.micro_batches.emplace_back(epoch->order.begin() + begin, epoch->order.begin() + end);
    result.examples += end - begin;
  }
  return result;
}

int64_t Sampler::steps_in_epochs(double epochs) const {
  if (options_.batch_size > 0) return static_cast<int64_t>(std::ceil(epochs * double(steps_in_epoch(0))));
  const auto whole = static_cast<int64_t>(std::floor(epochs));
  int64_t steps = 0;
  for (int64_t epoch = 0; epoch < whole; ++epoch) steps += steps_in_epoch(epoch);
  const double rest = epochs - double(whole);
  if (rest > 0) steps += static_cast<int64_t>(std::ceil(rest * double(steps_in_epoch(whole))));
  return steps;
}

}  // namespace peft
