#include "src/text/storage.h"

#include <gtest/gtest.h>

#include "src/text/normalizer.h"

namespace peft::text {
namespace {

void expect_source(const Storage& storage, std::string_view part, std::size_t start, std::size_t end) {
  const ByteSpan span = storage.source(part);
  EXPECT_EQ(span.start, start) << part;
  EXPECT_EQ(span.end, end) << part;
}

TEST(Storage, PartsOfTheTextAreTheirOwnSource) {
  constexpr std::string_view text = "aé漢";
  Storage storage;
  storage.reset(text);
  expect_source(storage, text.substr(0, 1), 0, 1);
  expect_source(storage, text.substr(1), 1, 6);
}

TEST(Storage, RewrittenBytesPointThroughEveryStep) {
  constexpr std::string_view text = "x ÉA";
  Storage storage;
  storage.reset(text);
  const std::string_view piece = text.substr(2);  // the text of an added token in front is gone
  Storage::Rewritten& first = storage.add();
  make_bert_normalizer({})->normalize(piece, first.text, &first.sources);
  storage.trace(piece, first.sources);
  EXPECT_EQ(first.text, "ea");
  expect_source(storage, std::string_view(first.text).substr(0, 1), 2, 4);
  expect_source(storage, first.text, 2, 5);

  Storage::Rewritten& second = storage.add();  // a pre-tokenizer that writes bytes of its own
  second.text = "__a";
  second.sources = {1, 1, 1};
  storage.trace(first.text, second.sources);
  expect_source(storage, second.text, 4, 5);
}

TEST(Rewriter, FollowsTheCharactersUsedUp) {
  std::string out;
  Sources sources;
  Rewriter rewriter("é12", out, &sources);
  rewriter.put(U'e');
  rewriter.put(U'x', 0);  // stands for the last one used
  rewriter.skip();
  rewriter.put(U'漢');
  EXPECT_EQ(out, "ex漢");
  EXPECT_EQ(sources, (Sources{0, 0, 3, 3, 3}));
}

}  // namespace
}  // namespace peft::text
