#include "src/text/decoder.h"

#include <gtest/gtest.h>

#include "peft/base/error.h"
#include "tests/text/unsupported.h"

namespace peft::text {
namespace {

std::string decoded(const std::string& json, std::vector<std::string> pieces) {
  const Json value = Json::parse(json);
  make_decoder(JsonSection(value, "t.json", "decoder"))->decode(pieces);
  std::string text;
  for (const std::string& piece : pieces) text += "[" + piece + "]";
  return text;
}

TEST(Decoder, WordPieceJoinsContinuations) {
  constexpr auto kPlain = R"({"type": "WordPiece", "prefix": "##", "cleanup": false})";
  EXPECT_EQ(decoded(kPlain, {"##un", "##aff", "able", "."}), "[##un][aff][ able][ .]")
      << "the first piece is left alone";
}

TEST(Decoder, CleanupTakesBlanksBeforePunctuation) {
  constexpr auto kClean = R"({"type": "WordPiece", "prefix": "##", "cleanup": true})";
  EXPECT_EQ(decoded(kClean, {"a", ".", "do not"}), "[a][.][ don't]");
  std::string text = "it 's , they do not .";
  clean_up_tokenization_spaces(text);
  EXPECT_EQ(text, "it's, they do not.") << "transformers leaves \"do not\" alone";
}

TEST(Decoder, SequenceOfPieceDecoders) {
  EXPECT_EQ(decoded(R"({"type": "Sequence", "decoders": [
                {"type": "Replace", "pattern": {"String": "_"}, "content": " "}, {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})",
                    {"_a", "_b"}),
            "[a b]");
}

TEST(Decoder, ErrorsNameTheKey) {
  for (const auto& [json, message] : std::vector<std::pair<std::string, std::string>>{
           {R"({"type": "Nothing"})", unsupported("decoder", decoders().names())},
           {R"({"type": "Replace", "pattern": {"Regex": "a"}, "content": ""})",
            "t.json: decoder.pattern.Regex: regular expressions are not supported, expected a String"}}) {
    try {
      decoded(json, {});
      FAIL();
    } catch (const DataError& error) {
      EXPECT_EQ(error.what(), message);
    }
  }
}

}  // namespace
}  // namespace peft::text
