// Files cut, with bytes flipped, lines swapped or columns dropped end in a DataError or in counted skips
// (docs/tasks.md#bad-input).
#include "fixtures.h"
#include "peft/base/rng.h"

namespace peft {
namespace {

struct Sample {
  std::string task, file, content;
};

std::vector<Sample> samples() {
  std::string tsv = "index\tsentence1\tsentence2\tlabel\n", csv = "text,label\n", jsonl, array = "[\n";
  for (int i = 0; i < 12; ++i) {
    const std::string n = std::to_string(i);
    tsv += n + "\tA caf\xC3\xA9 \"no " + n + "\tB\t" + (i % 2 ? "entailment" : "not_entailment") + "\r\n";
    csv += "\"say \"\"" + n + "\"\",\nplease\"," + (i % 2 ? "yes" : "no") + "\n";
    const std::string object =
        "{\"text\": \"\\u00e9 " + n + "\", \"label\": " + std::to_string(i % 3) + ", \"more\": [{}, null]}";
    jsonl += object + "\n";
    array += object + (i < 11 ? ",\n" : "\n]\n");
  }
  return {{"rte", "train.tsv", tsv},
          {"classification", "train.csv", csv},
          {"classification", "train.jsonl", jsonl},
          {"classification", "train.json", array}};
}

std::string broken(std::string text, const RngStream& random) {
  const uint64_t edits = 1 + random.below(0, 4);
  for (uint64_t edit = 1; edit <= edits && !text.empty(); ++edit) {
    const auto at = static_cast<std::size_t>(random.below(4 * edit, text.size()));
    const std::size_t line_end = std::min(text.find('\n', at), text.size() - 1);
    switch (random.below(4 * edit + 1, 6)) {
      case 0:
        text.resize(at);
        break;  // cut
      case 1:
        text[at] = static_cast<char>(random.word(4 * edit + 2));
        break;  // any byte
      case 2:
        text.insert(at, 1, "\"\n\t,[]{}\\\r"[random.below(4 * edit + 3, 10)]);
        break;  // a byte that means something
      case 3:
        text.erase(at, 1 + line_end - at);
        break;  // the rest of a line
      case 4:
        text += text.substr(at, 1 + line_end - at);
        break;  // part of a line once more
      default:
        text.insert(at, std::string(300, 'x'));
        break;  // beyond data.max_line_bytes
    }
  }
  return text;
}

class BrokenFiles : public FolderTest {};

TEST_F(BrokenFiles, NeverCrashAndNeverLoseRowsSilently) {
  testing::internal::CaptureStderr();  // thousands of skipped rows
  for (const Sample& sample : samples()) {
    SetUp();
    for (uint64_t trial = 0; trial < 400; ++trial) {
      write(sample.file, broken(sample.content, RngStream(trial, sample.file)));
      for (const char* policy : {"error", "skip"}) {
        data = {};
        data.on_bad_row = policy;
        data.max_bad_fraction = 1;
        data.max_line_bytes = 200;
        try {
          const EncodedSplit split = load(sample.task).splits.at("train");
          EXPECT_GT(split.size(), 0);
          EXPECT_TRUE(split.statistics.skipped.empty() || data.on_bad_row == "skip");
          EXPECT_EQ(split.labels.size(), static_cast<std::size_t>(split.size()));
        } catch (const DataError& error) {
          const std::string text = error.what();
          EXPECT_NE(text.find(sample.file + ":"), std::string::npos) << text;
          EXPECT_EQ(text.find('\n'), std::string::npos) << text;
        }
      }
    }
  }
  testing::internal::GetCapturedStderr();
}

}  // namespace
}  // namespace peft
