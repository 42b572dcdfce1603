#pragma once
/// Keys of an adapter_config.json that this program does not know. Private to src/interop.

#include "peft/methods/method.h"

namespace peft {

/// Warns of each by name and value, as peft does: it may belong to a newer peft and change what the adapter computes. Null, false and
/// empty values ask for nothing and are passed over.
void warn_of_unknown_keys(MethodConfig& config, const AdapterFiles& files);

}  // namespace peft
