#pragma once
/// The values of model.attn_implementation.

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace peft {

/// automatic: the fastest that serves the call. reference: the definition in plain operations. packed: prefixes, states and short sequences
/// by our own CUDA kernels, the rest as automatic. The others force one operator. cudnn serves batches of equal lengths; FlashAttention-2
/// serves the rest.
enum class AttentionImplementation { automatic, reference, cpu, flash, cudnn, efficient, packed };

/// In the order of the enumeration.
constexpr std::array<std::string_view, 7> kAttentionImplementations{"auto",  "reference", "cpu",   "flash",
                                                                    "cudnn", "efficient", "packed"};

constexpr std::string_view name_of(AttentionImplementation implementation) {
  return kAttentionImplementations[static_cast<std::size_t>(implementation)];
}
/// Throws Error for an unknown name.
AttentionImplementation attention_implementation(std::string_view name);

}  // namespace peft
