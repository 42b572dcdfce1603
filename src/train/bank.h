#pragma once
/// What all jobs of a bank share. Private to src/train.

#include <memory>

#include "peft/models/transformer.h"
#include "peft/train/features.h"
#include "peft/train/optimizer.h"

namespace peft {

struct Bank {
  Transformer model;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<Method> method;
  std::unique_ptr<Optimizer> optimizer;
  FeatureCache features = {};  ///< empty unless the method trains the head alone
};

}  // namespace peft
