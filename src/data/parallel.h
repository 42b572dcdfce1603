#pragma once
/// Independent work on the rows of a batch.

#include <algorithm>
#include <cstddef>
#include <exception>
#include <thread>
#include <vector>

#include "peft/base/cores.h"

namespace peft {

/// Calls work(i) for i = 0..n-1 from several threads. The exception of the smallest failing range is thrown again here.
template <class Work>
void parallel_for(std::size_t n, const Work& work) {
  constexpr std::size_t smallest_share = 64;  // rows that pay for starting a thread
  const std::size_t threads = std::clamp<std::size_t>(n / smallest_share, 1, static_cast<std::size_t>(usable_cores()));
  std::vector<std::exception_ptr> failures(threads);
  const auto run = [&](std::size_t part) noexcept {
    try {
      for (std::size_t i = n * part / threads; i < n * (part + 1) / threads; ++i) work(i);
    } catch (...) {
      failures[part] = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (std::size_t part = 1; part < threads; ++part) helpers.emplace_back(run, part);
    run(0);
  }
  for (const auto& failure : failures)
    if (failure) std::rethrow_exception(failure);
}

}  // namespace peft
