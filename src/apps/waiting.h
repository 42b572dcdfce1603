#pragma once

#include <cstdint>

namespace peft {

/// How OpenMP's threads wait between parallel regions: spinning is 1.6 times faster on idle cores, and turns milliseconds into seconds on
/// shared ones (docs/performance.md#waiting). Where more than one thread will run and other programs keep the cores busy right now, the
/// program starts itself once more with OMP_WAIT_POLICY=PASSIVE, because libgomp reads the policy when it is loaded; a policy the user set
/// stands. `num_threads` as the config has it; 0: default_threads(). Called when the command line is parsed, so that neither --help nor a
/// mistake in it measures anything.
void choose_waiting(int64_t num_threads = 0);

}  // namespace peft
