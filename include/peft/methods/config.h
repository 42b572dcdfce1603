#pragma once
/// The section `method` of a run config. `type` chooses the method; the other keys are its own and read like an adapter_config.json.

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "peft/base/fields.h"
#include "peft/base/json.h"

namespace peft {

/// Groups of trained tensors that may have a learning rate each: the keys of train.learning_rates.
inline constexpr std::array kRateGroups{"adapter", "offset", "encoder", "head", "backbone"};

/// Keys that every method has (docs/methods.md#common-keys). A method derives from it and adds its own in visit().
struct MethodConfig {
  std::string type;
  std::string compat =
      "paper";           ///< where paper and released code differ: "paper" or "code"; a switch given by name wins
  Json modules_to_save;  ///< names of the head's modules that train beside the architecture's own; null: those alone,
                         ///< []: none
  std::optional<std::string> init_from;  ///< run or adapter folder to start from
  bool init_head = true;                 ///< take the head of init_from too
  virtual ~MethodConfig() = default;
  virtual std::unique_ptr<MethodConfig> clone() const = 0;
  virtual void visit(Fields& fields);  ///< the common keys; overriders call it
  /// train.learning_rate and train.learning_rates where a config leaves them out (docs/results.md#rates-of-their-own).
  virtual double learning_rate() const { return 1e-3; }
  virtual std::map<std::string, double> learning_rates() const { return {}; }
  /// False for a method that trains one adapter at a time.
  virtual bool shares_bank() const { return true; }
  /// True for a method that trains the network itself: its folders are whole models, not adapter files.
  virtual bool writes_model_folder() const { return false; }
  /// The head's own module that gives the labels; empty: the architecture's.
  virtual std::string labels_module() const { return {}; }
  /// Fills keys whose default depends on others (compat), so that a printed config says all. Called after parsing, before validate().
  virtual void resolve() {}
  /// Keys of an adapter_config.json that act on nothing here, beside those that fold() writes and those of visit(): peft's own, whose
  /// values the tensors show.
  virtual std::vector<std::string> idle_file_keys() const { return {}; }
  /// Keys that name folders, for whoever makes them absolute.
  virtual std::vector<std::optional<std::string>*> paths() { return {&init_from}; }
  /// Contradictions between keys, as ConfigError naming them: `method.r: ...`.
  virtual void validate() const;
};

/// Throws ConfigError unless the value of `method.KEY` is "auto", true or false.
void check_switch(const char* key, const Json& value);

/// `method` of a run config: owns the struct that `type` chose; until then, one with the common keys.
class MethodSection {
 public:
  void visit(Fields& fields);
  const MethodConfig& operator*() const { return *config_; }
  const MethodConfig* operator->() const { return config_.get(); }
  std::vector<std::optional<std::string>*> paths() { return config_->paths(); }
  MethodSection();
  MethodSection(const MethodSection& other) : config_(other.config_->clone()) {}
  MethodSection& operator=(const MethodSection& other);

 private:
  std::unique_ptr<MethodConfig> config_;
};

}  // namespace peft
