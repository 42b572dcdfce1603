#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <unordered_map>

#include "bleu_tokens.h"
#include "peft/base/summaries.h"
#include "peft/metrics/metric.h"

namespace peft {
namespace {

constexpr std::size_t kOrders = 4;

// What a row adds to the corpus: BLEU is a function of the sums.
struct Counts {
  std::array<uint64_t, kOrders> matches{}, ngrams{};  // of the prediction, by order
  uint64_t length = 0, reference_length = 0;          // tokens of the prediction and of the closest reference
};

using Ngram = std::array<uint32_t, kOrders>;  // numbers of its tokens, from 1; 0 behind its end

class Counter {
 public:
  Counts operator()(const std::string& prediction, const std::vector<std::string>& references) {
    const auto tokens = numbered(prediction);
    std::map<Ngram, uint64_t> most;  // in one reference
    Counts counts{.length = tokens.size()};
    bool first = true;
    for (const std::string& reference : references) {
      const auto words = numbered(reference);
      for (const auto& [ngram, times] : ngrams_of(words)) most[ngram] = std::max(most[ngram], times);
      if (first || closer(words.size(), counts.reference_length, tokens.size())) counts.reference_length = words.size();
      first = false;
    }
    for (const auto& [ngram, times] : ngrams_of(tokens)) {
      const auto order = static_cast<std::size_t>(std::find(ngram.begin(), ngram.end(), 0U) - ngram.begin()) - 1;
      counts.ngrams[order] += times;
      const auto found = most.find(ngram);
      if (found != most.end()) counts.matches[order] += std::min(times, found->second);
    }
    return counts;
  }

 private:
  std::vector<uint32_t> numbered(const std::string& text) {
    std::vector<uint32_t> numbers;
    for (const std::string& token : bleu_tokens(text))
      numbers.push_back(numbers_.emplace(token, static_cast<uint32_t>(numbers_.size()) + 1).first->second);
    return numbers;
  }

  static std::map<Ngram, uint64_t> ngrams_of(const std::vector<uint32_t>& tokens) {
    std::map<Ngram, uint64_t> times;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      Ngram ngram{};
      for (std::size_t k = 0; k < kOrders && i + k < tokens.size(); ++k) {
        ngram[k] = tokens[i + k];
        ++times[ngram];
      }
    }
    return times;
  }

  // The shorter one of two that are equally near.
  static bool closer(uint64_t length, uint64_t than, uint64_t to) {
    const auto distance = [&](uint64_t a) { return a > to ? a - to : to - a; };
    return distance(length) < distance(than) || (distance(length) == distance(than) && length < than);
  }

  std::unordered_map<std::string, uint32_t> numbers_;
};

// Geometric mean of the clipped precisions times the brevity penalty [Papineni et al. 2002], in percent. The k-th order
// without a match has the precision 1 / (2^k n-grams): sacreBLEU's smooth:exp.
double bleu_of(const Counts& sum) {
  double logarithms = 0, doubled = 1;
  bool any = false;
  for (std::size_t order = 0; order < kOrders; ++order) {
    if (sum.ngrams[order] == 0) return 0.0;
    any = any || sum.matches[order] > 0;
    if (sum.matches[order] == 0) doubled *= 2;
    const double matches = sum.matches[order] > 0 ? double(sum.matches[order]) : 1 / doubled;
    logarithms += std::log(100.0 * matches / double(sum.ngrams[order]));
  }
  if (!any) return 0.0;
  const double length = double(sum.length), wanted = double(sum.reference_length);
  const double brevity = length < wanted ? std::exp(1 - wanted / length) : 1.0;
  return brevity * std::exp(logarithms / kOrders);
}

Evaluate bleu(const Scored& scored) {
  std::vector<Counts> rows;
  Counter count;
  for (std::size_t row = 0; row < scored.rows(); ++row)
    rows.push_back(count(scored.predicted_texts[row], scored.reference_texts[row]));
  return [rows = std::move(rows)](std::span<const uint32_t> times) -> MetricValue {
    Counts sum;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (times[i] == 0) continue;
      for (std::size_t order = 0; order < kOrders; ++order) {
        sum.matches[order] += times[i] * rows[i].matches[order];
        sum.ngrams[order] += times[i] * rows[i].ngrams[order];
      }
      sum.length += times[i] * rows[i].length;
      sum.reference_length += times[i] * rows[i].reference_length;
    }
    return {bleu_of(sum), {}};
  };
}

[[maybe_unused]] const bool registered =
    metric_registry().add("bleu", {.input = Metric::Input::texts, .prepare = bleu});

[[maybe_unused]] const bool described =
    summaries("metric").add("bleu", {"BLEU-4 of the whole split as sacreBLEU computes it, from 0 to 100"});

}  // namespace
}  // namespace peft
