#pragma once

namespace peft {

/// How OpenMP's threads wait between parallel regions: spinning is 1.6 times faster on idle cores, and turns milliseconds into seconds on
/// shared ones (docs/performance.md). Where other programs keep the cores busy right now, the program starts itself once more with
/// OMP_WAIT_POLICY=PASSIVE, because libgomp reads the policy when it is loaded; a policy the user set stands. Call it first in main.
void choose_waiting(char** argv);

}  // namespace peft
