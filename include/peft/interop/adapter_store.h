#pragma once
/// One adapter of a bank on disk, in the form that its method has.

#include <filesystem>
#include <string>
#include <vector>

#include "peft/interop/description.h"
#include "peft/methods/method.h"

namespace peft {

/// A folder takes one of three forms, and the method decides which: a whole model folder (the method trains the network itself), folded
/// adapter files beside the values that train (fold() leaves some out), or plain adapter files.
struct AdapterStore {
  const Transformer& model;
  std::vector<std::string> labels = {};  ///< class id -> name; empty: no classes
  Description description = {};          ///< which the folder keeps

  /// Puts adapter k into the place of `folder` in one step.
  void save(const std::filesystem::path& folder, const Method& method, int64_t k) const;
  /// Writes the description of a saved folder anew.
  void describe(const std::filesystem::path& folder) const;

  /// Values of adapter k from `folder`, its best/ or its last/; rows of its head go where `labels` has their names. `head` false leaves the
  /// trained modules of the head alone. What the folder holds and the method has no place for is told in a warning. Throws ConfigError
  /// when the folder holds values that the method cannot train on, DataError when names, labels or shapes do not fit.
  void restore(const std::filesystem::path& folder, Method& method, int64_t k, bool head) const;

  /// Throws DataError where a file that restore() reads of such a method's folder is missing or damaged.
  static void check(const std::filesystem::path& folder, const Method& method);
};

}  // namespace peft
