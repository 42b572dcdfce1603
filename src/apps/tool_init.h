#pragma once

namespace peft {

/// `peft-tool init --method NAME --task NAME [--model DIR] [--data PATH] [--output FILE]`: a commented config that trains as it stands.
int tool_init(int argc, char** argv);

}  // namespace peft
