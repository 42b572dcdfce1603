#pragma once

namespace peft {

/// `peft-tool list methods|tasks|metrics|architectures|configs`: one line each.
int tool_list(int argc, char** argv);

}  // namespace peft
