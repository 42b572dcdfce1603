#include "src/kernels/attention/select.h"

#include <algorithm>

#include "peft/base/error.h"
#include "src/kernels/cuda/packed_attention/api.h"

namespace peft {
namespace {

using Wish = AttentionImplementation;
using enum AttentionBackend;

/// Beyond this many keys FlashAttention-2 with the prefix merged behind it is expected to win (docs/kernels.md#attention-routes).
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
      return s.cuda && narrow && cuda::packed_attention_supports(static_cast<int>(s.width));
  }
  return false;
}

bool knows(AttentionBackend backend, const PositionSupport& positions) {
  if (!positions.any) return true;
  switch (backend) {
    case reference:
    case explicit_:
    case cpu:
      return true;
    case packed:
      return positions.packed;
    case flash:
    case cudnn:  // which leaves windows to flash
      return positions.flash;
    case efficient:
      return positions.efficient;
  }
  return false;
}

/// The default; `cudnn` and our own kernels are not part of it until a GPU has shown them faster (docs/kernels.md#our-cuda-kernels).
AttentionBackend fastest(const AttentionSituation& s) {
  for (const AttentionBackend backend : {cpu, flash, efficient}) {
    if (serves(backend, s) && knows(backend, s.positions)) return backend;
  }
  return explicit_;
}

/// Positions of the rows of a sequence. Some rows of a sequence keep the positions that they have in it.
struct Span {
  int64_t first, last, rows;
  bool whole() const { return last - first + 1 == rows; }
  bool operator==(const Span&) const = default;
};

Span span_of(const PackedBatch& rows, int64_t b) {
  return {rows.position(b, rows.begin(b)), rows.position(b, rows.begin(b) + rows.length(b) - 1), rows.length(b)};
}

/// Whether `holds(queries, keys)` for every sequence that has both.
template <class Holds>
bool all_spans(const AttentionArgs& args, const Holds& holds) {
  for (int64_t b = 0; b < args.queries->sequences(); ++b) {
    if (args.queries->length(b) > 0 && args.keys->length(b) > 0 &&
        !holds(span_of(*args.queries, b), span_of(*args.keys, b)))
      return false;
  }
  return true;
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
    case Wish::packed:
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

bool hides_keys(const AttentionArgs& args) {
  return args.queries == args.keys ||
         !all_spans(args, [](const Span& queries, const Span& keys) { return queries.first >= keys.last; });
}

PositionSupport position_support(const AttentionArgs& args) {
  const bool bias = args.bias.defined(), window = args.window > 0, prefix = args.prefix.defined(),
             same = args.queries == args.keys ||
                    all_spans(args, [](const Span&q, const Span&k) { return q == k && q.whole(); }),
             causal = args.causal && !same;  // the operators' own masks take queries for keys, or for the last of them
  if (!bias && !window && !causal) return {};
  const bool of_prefix = prefix && (window || args.bias.covers_prefix),
             frozen = !bias || !args.bias.table_NH.requires_grad(),
             together = all_spans(
                 args, [](const Span&q, const Span&k) { return q.whole() && k.whole() && q.first == k.first; }),
             at_end =
                 all_spans(args, [](const Span&q, const Span&k) { return q.whole() && k.whole() && q.last == k.last; });
  return {.any = true,
          .packed = !of_prefix && frozen && together && !causal,
          .flash = !bias && at_end,
          .efficient = !window && frozen && (bias ? together && !causal : at_end)};
}

AttentionChoice select_attention(const AttentionSituation& s) {
  const AttentionBackend backend = wished(s);
  const bool custom = s.wish == Wish::packed;
  if (!serves(backend, s) || (custom && !serves(flash, s) && !serves(efficient, s))) refuse(s);
  if (backend == reference) return {reference, false};
  if (backend == cpu) return {cpu, false};
  // Masks are named by example and position; operators draw theirs by place in the batch.
  const bool served = backend != explicit_ && !s.dropout && knows(backend, s.positions);
  // Alternatives other than flash pad, or form probabilities.
  const bool flash_is_better = served && backend == flash && (s.keys > kOnePassKeys || s.state);
  if (custom && serves(packed, s) && knows(packed, s.positions) && !flash_is_better) return {packed, true};
  if (!served) return {explicit_, false};
  return {backend, custom};
}

std::string_view name_of(AttentionBackend backend) {
  switch (backend) {
    case reference:
      return "reference";
    case explicit_:
      return "explicit probabilities";
    case cpu:
      return "our packed attention on the CPU";
    case flash:
      return "FlashAttention-2";
    case cudnn:
      return "cuDNN";
    case efficient:
      return "memory-efficient attention";
    case packed:
      return "our packed attention";
  }
  return "";
}

}  // namespace peft
