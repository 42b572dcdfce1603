#include "src/kernels/attention/select.h"

#include <algorithm>

#include "peft/base/error.h"
#include "src/kernels/cuda/packed_attention/api.h"

namespace peft {
namespace {

using Wish = AttentionImplementation;
using enum AttentionBackend;

/// Beyond this many keys FlashAttention-2 with the prefix merged behind it is expected to win (kernels.md K5).
constexpr int64_t kOnePassKeys = 512;

bool serves(AttentionBackend backend, const AttentionSituation& s) {
  const bool narrow = s.type == at::kHalf || s.type == at::kBFloat16;
  switch (backend) {
    case reference:
    case explicit_:
      return true;
    case cpu:
      return !s.cuda;
    case flash:
      return s.cuda && narrow && s.width % 8 == 0 && s.width <= 256;
    case cudnn:
      return s.cuda && narrow && s.width % 8 == 0 && s.width <= 128;
    case efficient:  // 16-byte rows
      return s.cuda && ((narrow && s.width % 8 == 0) || (s.type == at::kFloat && s.width % 4 == 0));
    case packed:
      return s.cuda && narrow && cuda::packed_attention_supports(static_cast<int>(s.width)) && !s.state &&
             s.positions != Positions::other;
  }
  return false;
}

/// The default; `cudnn` and our own kernels are not part of it until a GPU has shown them faster (docs/kernels.md).
AttentionBackend fastest(const AttentionSituation& s) {
  for (const AttentionBackend backend : {cpu, flash, efficient}) {
    if (serves(backend, s)) return backend;
  }
  return explicit_;
}

std::string_view name_of(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return "float32";
    case at::kDouble:
      return "float64";
    case at::kHalf:
      return "float16";
    default:
      return "bfloat16";
  }
}

[[noreturn]] void refuse(const AttentionSituation& s) {
  throw_error<ConfigError>("model.attn_implementation: {} does not serve {} of head width {} on {}", name_of(s.wish),
                           name_of(s.type), s.width, s.cuda ? "cuda" : "the CPU");
}

AttentionBackend wished(const AttentionSituation& s) {
  switch (s.wish) {
    case Wish::reference:
      return reference;
    case Wish::cpu:
      return cpu;
    case Wish::flash:
      return flash;
    case Wish::cudnn:
      return cudnn;
    case Wish::efficient:
      return efficient;
    case Wish::automatic:
    case Wish::own:
      break;
  }
  return fastest(s);
}

}  // namespace

AttentionImplementation attention_implementation(std::string_view name) {
  const auto* found = std::find(kAttentionImplementations.begin(), kAttentionImplementations.end(), name);
  if (found == kAttentionImplementations.end()) throw_error("attention: no implementation is called {}", name);
  return static_cast<AttentionImplementation>(found - kAttentionImplementations.begin());
}

AttentionChoice select_attention(const AttentionSituation& s) {
  const AttentionBackend backend = wished(s);
  const bool own = s.wish == Wish::own;
  if (!serves(backend, s) || (own && (backend != flash && backend != efficient))) refuse(s);
  // Masks are named by example and position; operators draw theirs by place in the batch.
  // No packed operator knows a position bias.
  const bool only_own = s.dropout || s.positions != Positions::none;
  if (own && serves(packed, s) && (s.keys <= kOnePassKeys || only_own)) return {packed, true};
  if (only_own && backend != reference) return {explicit_, false};
  return {backend, own};
}

std::string_view name_of(AttentionBackend backend) {
  switch (backend) {
    case reference:
      return "reference";
    case explicit_:
      return "explicit probabilities";
    case cpu:
      return "packed CPU operator";
    case flash:
      return "FlashAttention-2";
    case cudnn:
      return "cuDNN";
    case efficient:
      return "memory-efficient attention";
    case packed:
      return "own packed attention";
  }
  return "";
}

}  // namespace peft
