#pragma once
/// A pretrained model folder ready to run, for the trainer and for the programs.

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

#include "peft/models/transformer.h"
#include "peft/text/tokenizer.h"
#include "peft/train/config.h"

namespace peft {

/// "auto" is a GPU where this build and machine have one, else the CPU. Throws ConfigError naming `key` for "cuda" without a GPU.
at::Device choose_device(const std::string& name, const std::string& key);

struct OpenModel {
  Transformer model;
  std::unique_ptr<Tokenizer> tokenizer;
};

/// The network with the dropout, attention and kernels that `config` names, and its tokenizer. Throws DataError for a bad folder and for
/// a tokenizer with more ids than the model has word vectors.
OpenModel open_model(const ModelConfig& config, at::Device device);

}  // namespace peft
