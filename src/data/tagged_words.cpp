#include "tagged_words.h"

#include <fmt/format.h>

#include <algorithm>

#include "peft/text/words.h"
#include "row_readers.h"

namespace peft {
namespace {

constexpr std::size_t longest_word = 40;  // bytes of a word that a message repeats

int32_t length_of(std::string_view text) { return static_cast<int32_t>(count_code_points(text)); }

struct Labelled {
  int64_t start, end;
  std::string label;
};

std::vector<Labelled> read_spans(const Nested& spans, int64_t length) {
  std::vector<Labelled> read;
  for (const Nested& span : spans.items()) {
    Labelled one{span.at("start").integer(), span.at("end").integer(), span.at("label").text()};
    if (one.start < 0 || one.end <= one.start || one.end > length)
      throw BadRecord{"span", fmt::format("{}: start {} and end {} are no part of the text, which has {} characters",
                                          span.path(), one.start, one.end, length)};
    read.push_back(std::move(one));
  }
  std::sort(read.begin(), read.end(), [](const auto& a, const auto& b) { return a.start < b.start; });
  for (std::size_t i = 1; i < read.size(); ++i)
    if (read[i].start < read[i - 1].end)
      throw BadRecord{"span", fmt::format("{}: {} to {} and {} to {} overlap", spans.path(), read[i - 1].start,
                                          read[i - 1].end, read[i].start, read[i].end)};
  return read;
}

// The words, cut where a span begins or ends inside one.
std::vector<Span> cut_at(const std::vector<Span>& words, const std::vector<Labelled>& spans) {
  std::vector<Span> cut;
  for (Span word : words) {
    for (const Labelled& span : spans) {
      for (const int64_t place : {span.start, span.end}) {
        if (place <= word.start || place >= word.end) continue;
        cut.push_back({word.start, static_cast<int32_t>(place)});
        word.start = static_cast<int32_t>(place);
      }
    }
    cut.push_back(word);
  }
  return cut;
}

}  // namespace

std::vector<Span> join_words(const std::vector<std::string_view>& words, std::string& text) {
  std::vector<Span> spans;
  int32_t at = 0;
  text.clear();
  for (const std::string_view word : words) {
    if (!spans.empty()) {
      text += ' ';
      ++at;
    }
    const int32_t end = at + length_of(word);
    spans.push_back({at, end});
    text += word;
    at = end;
  }
  return spans;
}

std::vector<Span> locate_words(std::string_view text, const std::vector<std::string_view>& words) {
  std::vector<Span> spans;
  std::size_t byte = 0;
  int32_t point = 0;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::size_t found = text.find(words[i], byte);
    if (found == std::string_view::npos)
      throw BadRecord{"span", fmt::format("tokens[{}] \"{}\" does not follow the tokens before it in the text", i,
                                          shortened(words[i], longest_word))};
    const int32_t start = point + length_of(text.substr(byte, found - byte)), end = start + length_of(words[i]);
    spans.push_back({start, end});
    byte = found + words[i].size();
    point = end;
  }
  return spans;
}

std::vector<int32_t> first_tokens(const std::vector<Span>& words, const std::vector<Span>& tokens) {
  std::vector<int32_t> first;
  std::size_t t = 0;
  for (const Span& word : words) {
    while (t < tokens.size() && (tokens[t].start == tokens[t].end || tokens[t].start < word.start)) ++t;
    const bool found = t < tokens.size() && tokens[t].start < word.end;
    first.push_back(found ? static_cast<int32_t>(t) : -1);
    if (found) ++t;
  }
  return first;
}

void tag_spans(const Json& record, FlatRows& out) {
  const Nested root(record);
  if (!record.contains("spans")) {
    out.rows.push_back(record);
    return;
  }
  const std::string& text = root.at("text").text();
  const auto spans = read_spans(root.at("spans"), length_of(text));
  const std::vector<Span> words = cut_at(split_words(text), spans);
  Json row = record, tokens = Json::array(), tags = Json::array();
  row.erase("spans");
  auto next = words.begin();
  const auto take_until = [&](int64_t place, const std::string& first, const std::string& other) {
    const auto begin = next;
    for (; next != words.end() && next->start < place; ++next) {
      tokens.push_back(*code_points(text, next->start, next->end));
      tags.push_back(next == begin ? first : other);
    }
    return next != begin;
  };
  for (const Labelled& span : spans) {
    take_until(span.start, "O", "O");
    if (!take_until(span.end, "B-" + span.label, "I-" + span.label))
      throw BadRecord{"span", fmt::format("spans: {} to {} holds no word", span.start, span.end)};
  }
  take_until(length_of(text), "O", "O");
  row["tokens"] = std::move(tokens);
  row["tags"] = std::move(tags);
  out.rows.push_back(std::move(row));
}

}  // namespace peft
