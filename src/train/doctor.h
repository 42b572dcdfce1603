#pragma once
/// Signs that a run does not learn, each with its cure (docs/doctor.md). Numbers in, findings out: no tensors, no files, no clock.
/// Private to src/train.

#include <map>
#include <string>
#include <vector>

#include "peft/base/json.h"
#include "peft/methods/sign.h"

namespace peft {

struct Finding {
  std::string name;     ///< of docs/doctor.md
  int64_t step = 0;     ///< when it was first seen
  std::string message;  ///< what was seen, and the key to change

  Json to_json() const { return {{"name", name}, {"step", step}, {"message", message}}; }
};

/// What a training split is like.
struct DataFacts {
  int64_t examples = 0, truncated = 0, lost_tokens = 0, max_length = 0;
  std::vector<int64_t> label_counts = {};  ///< empty: there are no classes
  std::vector<std::string> labels = {};    ///< may be empty: numbers then
};

/// Looks at one job. Its state goes with the checkpoint, so that a resumed run finds the same.
class Doctor {
 public:
  struct Setting {
    double learning_rate = 0.0;
    int64_t warmup_steps = 0;
    int64_t batch = 1;  ///< examples of a step
    bool fresh = true;  ///< false: values of init_from, which may have little left to learn
  };
  /// Values of trained tensors by learning-rate group: a few of each, always the same ones.
  using Sample = std::map<std::string, std::vector<double>>;

  explicit Doctor(Setting setting) : setting_(setting) {}

  /// Before the first step.
  void begin(const DataFacts& data, Sample values);
  /// After every step; `step` counts it.
  void count(int64_t step, double loss, bool finite);
  /// Whether this step is the one at which the rate is judged, once: 50 steps after the warm-up. Shorter runs are judged at their end.
  bool judges_rate_at(int64_t step) const;
  void judge_rate(int64_t step, const Sample& values);
  /// What the method measured, at the start (step 0) and at evaluations.
  void look_at(int64_t step, const Signs& signs);
  /// After an evaluation. `collapsed`: all examples are predicted alike.
  void evaluated(int64_t step, bool collapsed);
  /// The run has reached its last step, and its last evaluation is done: what a longer run would have had time for is judged now.
  void conclude(int64_t step, const Sample& values);
  /// A guard ends the job because of its numbers.
  void stopped(int64_t step, const std::string& why);

  const std::vector<Finding>& findings() const { return findings_; }
  /// Those since the last call: each is said once.
  std::vector<Finding> take_new();
  Json findings_json() const;

  Json to_json() const;
  /// Goes on from to_json(). Of a checkpoint without one (null) it stays healthy: what it did not see it does not judge.
  void resume(const Json& state);

 private:
  /// Of some steps.
  struct Losses {
    double sum = 0.0;
    int64_t count = 0;
    double mean() const { return count > 0 ? sum / static_cast<double>(count) : 0.0; }
  };
  bool found(const std::string& name) const;
  bool blames_rate() const { return found("rate_too_low") || found("rate_too_high"); }
  void add(const std::string& name, int64_t step, std::string message);
  void judge_fall(int64_t step);
  void blame_one_prediction(int64_t step);
  std::string higher_rate(const std::string& what) const;
  std::string lower_rate(const std::string& what) const;

  Setting setting_;
  std::vector<Finding> findings_;
  std::size_t said_ = 0;
  bool watching_ = false;  ///< begin() was called: the run has been seen from its first step
  bool judged_ = false;
  Sample start_;
  double first_loss_ = 0.0;
  double uninformed_ = 0.0;  ///< cross entropy of answering with the labels' frequencies; 0 where there are no classes
  int64_t skipped_ = 0;      ///< steps that were not finite, until the rate is judged
  Losses start_losses_;      ///< of the first steps
  std::vector<double> window_;         ///< losses since the warm-up, until the rate is judged
  Losses beginning_;                   ///< of the first kWindow losses
  double squares_ = 0.0, last_ = 0.0;  ///< of their differences, and the loss before
  Losses interval_, recent_;           ///< after those: since the last long enough interval, and of that one
  int64_t collapsed_ = 0;              ///< evaluations in a row
};

/// ||after - before|| / the larger of ||after|| and ||before||, by group; 0 where both are zero.
std::map<std::string, double> relative_changes(const Doctor::Sample& before, const Doctor::Sample& after);

}  // namespace peft
