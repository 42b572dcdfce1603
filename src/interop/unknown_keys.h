#pragma once
/// Keys of an adapter_config.json that this program does not know. Private to src/interop.

#include "peft/methods/method.h"

namespace peft {

/// Warns of each key with a value that is none of: peft's of every adapter, ours, those of `config`, those of `folded`, which is what the
/// method itself writes.
void warn_of_unknown_keys(MethodConfig& config, const Json& folded, const AdapterFiles& files);

}  // namespace peft
