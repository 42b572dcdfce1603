// test-encode-split MODEL TASK DATA SPLIT MAX_LENGTH: the sequences of the encoded split as JSON Lines {"ids": [...],
// "types": [...]} on stdout.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

#include "peft/base/error.h"
#include "peft/base/json.h"
#include "peft/data/dataset.h"

int main(int argc, char** argv) {
  if (argc != 6) {
    fmt::print(stderr, "usage: {} MODEL TASK DATA SPLIT MAX_LENGTH\n", argv[0]);
    return static_cast<int>(peft::ExitCode::config);
  }
  try {
    const auto tokenizer = peft::Tokenizer::load(argv[1]);
    const peft::TaskConfig task{argv[2], argv[3], std::atoll(argv[5])};
    const peft::DataConfig data;
    const peft::Dataset dataset = peft::load_dataset(task, data, *tokenizer, {argv[4]});
    const peft::EncodedSplit& split = dataset.splits.at(peft::canonical_split(argv[4]));
    for (int64_t s = 0; s < split.sequences(); ++s)
      fmt::print("{}\n", peft::Json{{"ids", split.sequence_ids(s)}, {"types", split.sequence_types(s)}}.dump());
  } catch (const peft::Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return static_cast<int>(error.code());
  }
  return 0;
}
