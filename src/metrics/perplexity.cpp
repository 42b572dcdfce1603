#include <cmath>

#include "peft/base/summaries.h"
#include "peft/metrics/metric.h"

namespace peft {
namespace {

// exp(total negative log-likelihood / tokens), natural log. Row i: predictions[i] is the sum over its references[i]
// tokens.
Evaluate perplexity(const Scored& scored) {
  return [nll = scored.predictions, tokens = scored.references](std::span<const uint32_t> times) -> MetricValue {
    double sum = 0, count = 0;
    for (std::size_t i = 0; i < nll.size(); ++i) {
      if (times[i] == 0) continue;
      sum += times[i] * nll[i];
      count += times[i] * tokens[i];
    }
    if (count <= 0) return {0.0, "no tokens"};
    const double value = std::exp(sum / count);
    if (!std::isfinite(value)) return {0.0, "the negative log-likelihood is not finite, or its mean too large"};
    return {value, {}};
  };
}

[[maybe_unused]] const bool registered = metric_registry().add(
    "perplexity", {.input = Metric::Input::numbers, .prepare = perplexity, .lower_is_better = true});

[[maybe_unused]] const bool described = summaries("metric").add("perplexity", {"of texts, a token; lower is better"});

}  // namespace
}  // namespace peft
