// Files cut, with bytes flipped, lines swapped or columns dropped end in a DataError or in counted skips
// (docs/tasks.md#bad-input).
#include "fixtures.h"
#include "peft/base/rng.h"

namespace peft {
namespace {

struct Sample {
  std::string task, file, content;
  bool counted = true;  // an example for every record: none is lost without being counted
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

// Records that hold many examples, and those of which an example is several lines.
std::vector<Sample> nested_samples() {
  std::string conll, multirc, record, wsc, wic, copa, cola, tags, spans, squad = R"({"version": "1.1", "data": [)";
  for (int i = 0; i < 8; ++i) {
    const std::string n = std::to_string(i), label = i % 2 ? "1" : "0", yes = i % 2 ? "true" : "false";
    conll += "caf\xC3\xA9 NN B-X\n" + n + " CD I-X\n. . O\n\n";
    tags += R"({"tokens": ["a", ")" + n +
            R"("], "tags": ["O", "B-X"]})"
            "\n";
    spans += R"({"text": "a )" + n +
             R"(, b", "spans": [{"start": 2, "end": 3, "label": "X"}]})"
             "\n";
    squad += std::string(i ? "," : "") + R"({"paragraphs": [{"context": "caf\u00e9 )" + n +
             R"( b", "qas": [{"id": "q", "question": "w?", "answers": [{"text": "b", "answer_start": 7}]}]}]})"
             "\n";
    multirc += R"({"idx": )" + n + R"(, "passage": {"text": "P", "questions": [{"question": "Q", "idx": )" + n +
               R"(, "answers": [{"text": "A", "idx": )" + n + R"(, "label": )" + label + "}]}]}}\n";
    record += R"({"idx": )" + n +
              R"(, "passage": {"text": "Ann saw Bo", "entities": [{"start": 0, "end": 2}, {"start": 8, "end": 9}]}, )"
              R"("qas": [{"query": "@placeholder saw", "idx": )" +
              n +
              R"(, "answers": [{"start": 0, "end": 2, "text": "Ann"}]}]})"
              "\n";
    wsc += R"({"text": "Ann sees it", "target": {"span1_text": "Ann", "span1_index": 0, "span2_text": "it", )"
           R"("span2_index": 2}, "idx": )" +
           n + R"(, "label": )" + yes + "}\n";
    wic += R"({"word": "run", "sentence1": "I ran", "sentence2": "runs", "start1": 2, "end1": 5, "start2": 0, )"
           R"("end2": 4, "version": 1.1, "idx": )" +
           n + R"(, "label": )" + yes + "}\n";
    copa += R"({"premise": "P", "choice1": "a", "choice2": "b", "question": "cause", "idx": )" + n + R"(, "label": )" +
            label + "}\n";
    cola += "gj04\t" + label + "\t*\tA \"sentence " + n + "\n";
  }
  squad += "]}";
  return {{"token_classification", "train.conll", conll, false},
          {"token_classification", "train.jsonl", tags},
          {"token_classification", "train.jsonl", spans},
          {"span", "train.json", squad, false},
          {"multirc", "train.jsonl", multirc, false},
          {"record", "train.jsonl", record, false},
          {"wsc", "train.jsonl", wsc},
          {"wic", "train.jsonl", wic},
          {"copa", "train.jsonl", copa},
          {"cola", "train.tsv", cola, false}};
}

constexpr std::size_t longest_line = 400;  // of these tests

// What LineReader makes of a text, written down once more.
std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    lines.push_back(text.substr(begin, end == std::string::npos ? end : end - begin));
    if (end == std::string::npos) break;
    if (lines.back().ends_with('\r')) lines.back().pop_back();
    begin = end + 1;
  }
  if (!lines.empty() && lines.back().empty()) lines.pop_back();  // one empty line may end a file
  return lines;
}

// Records of a csv file, with its header: quotes may span lines, but not one that is too long.
int64_t count_csv(const std::vector<std::string>& lines) {
  int64_t records = 0;
  bool quoted = false;
  for (const std::string& line : lines) {
    bool start = !quoted;  // of a field, where alone a quote opens
    for (std::size_t i = 0; i < line.size() && line.size() <= longest_line; ++i) {
      if (quoted && line[i] == '"') {
        if (i + 1 < line.size() && line[i + 1] == '"') {
          ++i;
        } else {
          quoted = false;
        }
      } else if (start && line[i] == '"') {
        quoted = true;
      }
      start = !quoted && line[i] == ',';
    }
    quoted = quoted && line.size() <= longest_line;
    records += !quoted;
  }
  return records;
}

// Members of a JSON array: commas outside of brackets and strings, and one.
int64_t count_members(const std::string& text) {
  int64_t members = 1, depth = 0;
  bool quoted = false;
  for (std::size_t i = text.find('[') + 1; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '\\') {
      ++i;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && (c == '{' || c == '[')) {
      ++depth;
    } else if (!quoted && (c == '}' || c == ']') && depth > 0) {
      --depth;
    } else if (!quoted && c == ',' && depth == 0) {
      ++members;
    }
  }
  return members;
}

int64_t count_records(const std::string& file, const std::string& text) {
  const auto lines = lines_of(text);
  if (file == "train.csv") return count_csv(lines) - 1;
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (file == "train.json" && first != std::string::npos && text[first] == '[') return count_members(text);
  return static_cast<int64_t>(lines.size()) - (file == "train.tsv" ? 1 : 0);
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
        text.insert(at, std::string(longest_line + 100, 'x'));
        break;  // beyond data.max_line_bytes
    }
  }
  return text;
}

class BrokenFiles : public FolderTest {};

TEST_F(BrokenFiles, NeverCrashAndNeverLoseRowsSilently) {
  testing::internal::CaptureStderr();  // thousands of skipped rows
  int64_t read = 0;
  std::vector<Sample> all = samples();
  const auto nested = nested_samples();
  all.insert(all.end(), nested.begin(), nested.end());
  for (const Sample& sample : all) {
    SetUp();
    for (uint64_t trial = 0; trial < 400; ++trial) {
      const std::string content = broken(sample.content, RngStream(trial, sample.file));
      write(sample.file, content);
      for (const char* policy : {"error", "skip"}) {
        data = {};
        data.on_bad_row = policy;
        data.max_bad_fraction = 1;
        data.max_line_bytes = longest_line;
        try {
          const EncodedSplit split = load(sample.task).splits.at("train");
          EXPECT_GT(split.size(), 0);
          EXPECT_TRUE(split.statistics.skipped.empty() || data.on_bad_row == "skip");
          EXPECT_EQ(split.labels.size(), static_cast<std::size_t>(split.size()));
          int64_t records = split.size();
          for (const auto& [kind, count] : split.statistics.skipped) records += count;
          if (sample.counted) {
            EXPECT_EQ(records, count_records(sample.file, content)) << policy << ":\n" << content;
          }
          ++read;
        } catch (const DataError& error) {
          const std::string text = error.what();
          EXPECT_NE(text.find(sample.file + ":"), std::string::npos) << text;
          EXPECT_EQ(text.find('\n'), std::string::npos) << text;
        }
      }
    }
  }
  testing::internal::GetCapturedStderr();
  EXPECT_GT(read, 2000) << "files that could be read, of 11200";
}

}  // namespace
}  // namespace peft
