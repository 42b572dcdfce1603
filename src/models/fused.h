#pragma once
/// Query, key and value maps as one. Private to src/models.

#include "peft/models/sites.h"

namespace peft {

/// Gives an attention of three maps one map of all, no site: a product in place of three. Leaves maps alone that do not fit together.
void fuse(Attention& attention);

/// Query, key and value become views of the one map's rows, where there is one: nothing is held twice.
void view_parts(Attention& attention);

}  // namespace peft
