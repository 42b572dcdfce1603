// test-permutation: reads lines `N SEED` from stdin and prints permutation(N, SEED), a line each.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>
#include <iostream>

#include "peft/data/permutation.h"

int main() {
  int64_t n = 0;
  uint64_t seed = 0;
  while (std::cin >> n >> seed) fmt::print("{}\n", fmt::join(peft::permutation(n, seed), " "));
  return 0;
}
