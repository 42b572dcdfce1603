#pragma once
/// A folder of files for one test, and a tokenizer whose tokens are easy to count.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include "peft/base/error.h"
#include "peft/base/hash.h"
#include "peft/data/dataset.h"
#include "peft/text/words.h"

namespace peft {

/// One token a word, framed as BERT does: 1 A 2, or 1 A 2 B 2 with types 0 and 1. Truncates pairs by the rule of docs/tasks.md#encoding.
class WordTokenizer final : public Tokenizer {
 public:
  void encode_content(std::string_view text, std::vector<int32_t>& ids) const override {
    std::size_t begin = 0;
    while ((begin = text.find_first_not_of(' ', begin)) != std::string_view::npos) {
      const std::size_t end = std::min(text.find(' ', begin), text.size());
      ids.push_back(3 + static_cast<int32_t>(hash64(text.substr(begin, end - begin)) % 1000));
      begin = end;
    }
  }
  Encoding encode(std::string_view text, std::optional<std::string_view> pair,
                  const EncodeOptions& options) const override {
    std::vector<int32_t> a, b;
    encode_content(text, a);
    if (pair) encode_content(*pair, b);
    const auto full = static_cast<int64_t>(a.size() + b.size());
    const int64_t room = options.max_length == 0 ? full : options.max_length - (pair ? 3 : 2);
    if (full > room) {
      auto &shorter = a.size() <= b.size() ? a : b, &longer = a.size() <= b.size() ? b : a;
      if (pair) shorter.resize(static_cast<std::size_t>(std::min<int64_t>(int64_t(shorter.size()), room / 2)));
      longer.resize(static_cast<std::size_t>(room - (pair ? int64_t(shorter.size()) : 0)));
    }
    Encoding encoding;
    const auto put = [&](int32_t id, int32_t type, Span span) {
      encoding.ids.push_back(id);
      encoding.types.push_back(type);
      if (options.offsets) encoding.offsets.push_back(span);
    };
    const auto put_words = [&](const std::vector<int32_t>& ids, std::string_view words, int32_t type) {
      const std::vector<Span> spans = word_spans(words);
      for (std::size_t i = 0; i < ids.size(); ++i) put(ids[i], type, spans[i]);
    };
    put(1, 0, {0, 0});
    put_words(a, text, 0);
    put(2, 0, {0, 0});
    if (pair) {
      put_words(b, *pair, 1);
      put(2, 1, {0, 0});
    }
    encoding.lost_tokens = full - static_cast<int64_t>(a.size() + b.size());
    return encoding;
  }
  static std::vector<Span> word_spans(std::string_view text) {
    std::vector<Span> spans;
    std::size_t begin = 0;
    while ((begin = text.find_first_not_of(' ', begin)) != std::string_view::npos) {
      const std::size_t end = std::min(text.find(' ', begin), text.size());
      const auto start = static_cast<int32_t>(count_code_points(text.substr(0, begin)));
      spans.push_back({start, start + static_cast<int32_t>(count_code_points(text.substr(begin, end - begin)))});
      begin = end;
    }
    return spans;
  }
  int64_t size() const override { return 1003; }
  std::optional<int32_t> token_to_id(std::string_view) const override { return std::nullopt; }
  std::string_view id_to_token(int32_t) const override { return ""; }
  std::optional<int32_t> pad_id() const override { return 0; }
  const std::string& fingerprint() const override {
    static const std::string text = "words";
    return text;
  }
};

class FolderTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::path(testing::TempDir()) / "peft_data" /
              (std::string(info->test_suite_name()) + "." + info->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& name, std::string_view content) {
    std::filesystem::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name, std::ios::binary) << content;
    return (folder_ / name).string();
  }
  Dataset load(const std::string& task, const std::vector<std::string>& splits = {"train"}) {
    const TaskConfig config{task, folder_.string(), max_length};
    return load_dataset(config, data, WordTokenizer(), splits);
  }
  /// The error's message, with the folder's path taken out; "" when there is none.
  template <class E = DataError>
  std::string failure(const std::string& task, const std::vector<std::string>& splits = {"train"}) {
    try {
      load(task, splits);
    } catch (const E& error) {
      std::string text = error.what();
      for (std::size_t at; (at = text.find(folder_.string() + "/")) != std::string::npos;)
        text.erase(at, folder_.string().size() + 1);
      return text;
    }
    return {};
  }

  std::filesystem::path folder_;
  DataConfig data;
  int64_t max_length = 128;
};

}  // namespace peft
