#pragma once
/// torch.randperm without torch (docs/tasks.md#limits-and-permutations).

#include <cstdint>
#include <vector>

namespace peft {

/// Permutation of 0..n-1, equal to torch.randperm(n) on the CPU with a generator seeded by `seed`: mt19937, then for i = 0..n-2 the
/// elements i and i + (next32 mod (n - i)) change places.
std::vector<int64_t> permutation(int64_t n, uint64_t seed);

}  // namespace peft
