#pragma once

namespace peft {

/// Makes OpenMP's threads sleep, not spin, between parallel regions: on shared cores spinning turns milliseconds into seconds
/// (docs/performance.md). libgomp reads the policy when it is loaded, so the program starts itself once more with OMP_WAIT_POLICY set,
/// unless the user set it or GOMP_SPINCOUNT. Call it first in main.
void wait_passively(char** argv);

}  // namespace peft
