#pragma once
/// Scores of predictions against references (docs/tasks.md#metrics). A metric never returns NaN or infinity: where its formula has no
/// value the result is 0 and `undefined` says so.

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace peft {

/// Predictions and references of one split: class ids (-1 = invalid prediction), numbers (NaN = unreadable prediction), sets of class ids
/// in ascending order ({-1} = invalid prediction), texts in UTF-8 ("" = no prediction), or tags of words.
struct Scored {
  std::vector<double> predictions;
  std::vector<double> references;
  std::vector<int64_t> groups;                                                 ///< for grouped metrics; else empty
  int64_t num_classes = 0;                                                     ///< 0 = unknown
  std::vector<std::vector<int64_t>> predicted_sets = {}, reference_sets = {};  ///< in place of the first two
  std::vector<std::string> predicted_texts = {};                               ///< in place of the first two ...
  std::vector<std::vector<std::string>> reference_texts = {};  ///< ... and of each row one text or several

  std::vector<std::vector<std::string>> predicted_tags = {},
                                        reference_tags =
                                            {};  ///< of each row one for each word, in place of the first two

  bool sets() const { return !reference_sets.empty() || !predicted_sets.empty(); }
  bool texts() const { return !reference_texts.empty() || !predicted_texts.empty(); }
  bool tags() const { return !reference_tags.empty() || !predicted_tags.empty(); }
  /// Number of references.
  std::size_t rows() const {
    return tags()    ? reference_tags.size()
           : texts() ? reference_texts.size()
           : sets()  ? reference_sets.size()
                     : references.size();
  }
};

struct MetricValue {
  double value = 0.0;
  std::string undefined;  ///< reason; empty = defined
};

/// accuracy, f1, macro_f1, macro_f1_all, mcc, pearson, spearman; grouped by question or pair: multirc_f1a, multirc_em, multirc_f1m,
/// gender_parity; of sets: micro_f1, macro_f1, subset_accuracy; of tags: entity_f1, entity_precision, entity_recall, tag_accuracy; of texts:
/// squad_em, squad_f1, squad_v2_f1, exact_match, number_em, rouge1, rouge2, rougeL,
/// bleu. perplexity takes the summed negative log-likelihoods of texts as predictions and their numbers of tokens as references. All are
/// fractions but bleu, which goes to 100. Throws ConfigError on an unknown name (lists the known ones) and on missing groups or class
/// count, DataError on rows that cannot be scored (no rows, unequal numbers of them, a reference that is no class id or no finite number,
/// a text that is not UTF-8).
MetricValue compute_metric(const std::string& name, const Scored& scored);
std::vector<std::string> metric_names();
bool metric_known(const std::string& name);
/// Of a metric, or of "loss".
bool lower_is_better(const std::string& name);

struct Interval {
  double low = 0, high = 0;
};

/// Percentile bootstrap, 95 %, splitmix64 draws exactly as docs/tasks.md#intervals defines them (unit: the row, or for grouped metrics the
/// group, in order of first appearance). Undefined resamples count as 0.
Interval bootstrap_interval(const std::string& metric, const Scored& scored, int64_t resamples, uint64_t seed);

/// Unit taken by draw i of resample b over n units.
uint64_t bootstrap_draw(uint64_t seed, uint64_t b, uint64_t i, uint64_t n);

}  // namespace peft
