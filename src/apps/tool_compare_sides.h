#pragma once
/// The runs of `peft-tool compare`, row by row.

#include <string>
#include <vector>

#include "src/apps/tool_score_values.h"

namespace peft {

struct ComparedSide {
  std::string name;         ///< as it was given: a run folder or a predictions file
  PredictedValues values;   ///< all with references and ids; names: of the run's task, else what the file tells
  std::string task = {};    ///< of a run; empty: a file does not tell
  std::string metric = {};  ///< the first one of that task
  std::string split = {};   ///< of a run: the one that was read
};

/// `split`: of run folders, by its canonical name; empty: the one that the run reports. Throws DataError where predictions, ids or references are missing.
ComparedSide read_side(const std::string& path, const std::string& split);

/// Brings the rows of `side` into the order of `first`. Throws DataError naming the first difference of ids, references or groups.
void match_rows(const ComparedSide& first, ComparedSide& side);

}  // namespace peft
