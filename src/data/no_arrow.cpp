// Stands in for the Arrow reader in a build that found no Arrow libraries.
#include "peft/base/error.h"
#include "row_readers.h"

namespace peft {

std::unique_ptr<RowReader> open_arrow(const std::filesystem::path& path, const RowFormat&, const std::vector<Column>&,
                                      BadRows&) {
  throw_error<DataError>(
      "{}: this build reads no Parquet or Arrow files; run scripts/setup, which installs pyarrow, and scripts/build, "
      "or "
      "configure with -DPEFT_ARROW=ON",
      path.string());
}

}  // namespace peft
