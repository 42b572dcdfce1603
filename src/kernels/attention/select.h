#pragma once
/// Which implementation serves a call of attention(): one pure function of the situation. Private to src/kernels.

#include <ATen/core/Tensor.h>

#include "peft/kernels/attention.h"

namespace peft {

/// explicit_: probabilities are formed, one sequence at a time. cpu: ours on the CPU. flash, cudnn, efficient: stock CUDA operators.
/// packed: our own kernel, with prefixes, and a state behind it (packed_attention).
enum class AttentionBackend { reference, explicit_, cpu, flash, cudnn, efficient, packed };

/// Whether a call has a position bias, a window, or a causal mask of other queries than its keys, and which kernels know it then.
struct PositionSupport {
  bool any = false;
  bool packed = false;  ///< ours: a frozen bias and a window of own keys, whose queries and keys begin at one position
  bool flash = false;   ///< a window or a causal mask, of queries at the end of their sequences, over prefix pairs too
  bool efficient = false;  ///< a frozen bias alone, whose queries and keys begin at one position, of prefix pairs too
};

PositionSupport position_support(const AttentionArgs& args);

/// Whether a causal mask of this call hides any key.
bool hides_keys(const AttentionArgs& args);

struct AttentionSituation {
  AttentionImplementation wish = AttentionImplementation::automatic;
  bool cuda = false;
  at::ScalarType type = at::kFloat;
  int64_t width = 64;    ///< D
  int64_t keys = 0;      ///< of the longest sequence
  bool dropout = false;  ///< on the probabilities
  bool state = false;
  PositionSupport positions = {};
};

struct AttentionChoice {
  AttentionBackend backend = AttentionBackend::explicit_;
  bool custom_source = false;  ///< prefixes and states by our own kernels
  bool operator==(const AttentionChoice&) const = default;
};

/// Throws ConfigError when the wish cannot be met.
AttentionChoice select_attention(const AttentionSituation& situation);

std::string_view name_of(AttentionBackend backend);

}  // namespace peft
