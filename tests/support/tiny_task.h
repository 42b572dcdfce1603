#pragma once
/// A random BERT with its own vocabulary and a small labelled data set: everything a run needs.

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "peft/base/files.h"
#include "peft/base/rng.h"
#include "peft/train/config.h"
#include "tests/support/tiny_bert.h"

namespace peft {

/// Words w0 .. w17; the label says whether a text holds more even than odd ones.
struct TinyTask {
  std::filesystem::path folder;

  explicit TinyTask(const std::string& name, double dropout = 0.0, int64_t width = 16)
      : folder(std::filesystem::path(testing::TempDir()) / name) {
    std::filesystem::remove_all(folder);
    TinyBert{
        .width = width, .heads = 2, .layers = 2, .feed_forward = 32, .vocabulary = 23, .labels = 0, .dropout = dropout}
        .write(folder / "model");
    std::string vocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
    for (int i = 0; i < 18; ++i) vocab += "w" + std::to_string(i) + "\n";
    write_atomic(folder / "model" / "vocab.txt", vocab);
    write_rows("train", 50);
    write_rows("dev", 30);
  }

  Json config(const std::string& output, const Json& method, const Json& train = Json::object()) const {
    Json json = {{"model", {{"path", (folder / "model").string()}}},
                 {"task", {{"name", "classification"}, {"data", (folder / "data").string()}, {"max_length", 16}}},
                 {"method", method},
                 {"train",
                  {{"batch_size", 8},
                   {"max_steps", 12},
                   {"learning_rate", 0.01},
                   {"logging_steps", 1},
                   {"device", "cpu"},
                   {"num_threads", 1}}},
                 {"output", (folder / output).string()}};
    json["train"].update(train);
    return json;
  }
  RunConfig run(const std::string& output, const Json& method, const Json& train = Json::object()) const {
    return RunConfig::from_json(config(output, method, train), "test.json");
  }

 private:
  void write_rows(const std::string& split, int64_t rows) const {
    std::string text = "label\ttext\n";
    for (int64_t r = 0; r < rows; ++r) {
      const RngStream stream(7, split, static_cast<uint64_t>(r));
      const auto words = static_cast<int64_t>(3 + stream.below(0, 9));
      int64_t even = 0;
      std::string line;
      for (int64_t i = 0; i < words; ++i) {
        const auto word = stream.below(1 + i, 18);
        even += word % 2 == 0 ? 1 : -1;
        line += (i > 0 ? " w" : "w") + std::to_string(word);
      }
      text += (even > 0 ? "yes\t" : "no\t") + line + "\n";
    }
    write_atomic(folder / "data" / (split + ".tsv"), text);
  }
};

inline std::string file_text(const std::filesystem::path& path) { return std::string(MappedFile(path).text()); }

}  // namespace peft
