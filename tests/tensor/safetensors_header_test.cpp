#include "peft/tensor/safetensors_header.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "peft/base/error.h"
#include "tests/tensor/safetensors_bytes.h"

namespace peft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::StartsWith;

SafetensorsHeader parse(const std::string& json, std::size_t data_bytes) {
  return parse_safetensors_header(safetensors_bytes(json, std::string(data_bytes, '\0')), "x.safetensors");
}

std::string refusal(const std::string& file) {
  try {
    parse_safetensors_header(file, "x.safetensors");
  } catch (const DataError& e) {
    EXPECT_THAT(e.what(), StartsWith("x.safetensors: "));
    EXPECT_THAT(e.what(), testing::Not(HasSubstr("\n")));
    return e.what();
  }
  return "accepted";
}

std::string refusal(const std::string& json, std::size_t data_bytes) {
  return refusal(safetensors_bytes(json, std::string(data_bytes, '\0')));
}

// One tensor "a" of 8 data bytes.
std::string refusal_of_entry(const std::string& entry) { return refusal("{\"a\":" + entry + "}", 8); }

TEST(SafetensorsHeader, ReadsEntriesAndMetadata) {
  const auto header =
      parse(R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2,1],"data_offsets":[2,10]},)"
            R"("a":{"dtype":"BF16","shape":[],"data_offsets":[0,2]}}  )",
            10);
  EXPECT_THAT(header.metadata, ElementsAre(Pair("format", "pt")));
  ASSERT_EQ(header.entries.size(), 2u);
  const TensorEntry &a = header.entries.at("a"), &b = header.entries.at("b");
  EXPECT_EQ(a.dtype, "BF16");
  EXPECT_THAT(a.shape, IsEmpty());
  EXPECT_EQ(a.numel(), 1u);
  EXPECT_THAT(b.shape, ElementsAre(2, 1));
  EXPECT_EQ(b.numel(), 2u);
  EXPECT_EQ(b.begin, a.end);
  EXPECT_EQ(b.end - b.begin, 8u);
}

TEST(SafetensorsHeader, AcceptsAFileWithoutTensors) {
  EXPECT_THAT(parse("{}", 0).entries, IsEmpty());
  EXPECT_THAT(parse(R"({"__metadata__":{}})", 0).metadata, IsEmpty());
}

TEST(SafetensorsHeader, AcceptsEmptyTensorsBetweenOthers) {
  const auto header = parse(
      R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[3,0],"data_offsets":[4,4]},)"
      R"("c":{"dtype":"U8","shape":[1],"data_offsets":[4,5]},"d":{"dtype":"I64","shape":[0],"data_offsets":[5,5]}})",
      5);
  EXPECT_EQ(header.entries.at("b").numel(), 0u);
}

TEST(SafetensorsHeader, KnowsDtypesThatHaveNoTensorType) {
  EXPECT_EQ(parse(R"({"a":{"dtype":"F8_E4M3","shape":[3],"data_offsets":[0,3]}})", 3).entries.at("a").dtype, "F8_E4M3");
  EXPECT_EQ(parse(R"({"a":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}})", 2).entries.at("a").numel(), 4u);
  EXPECT_EQ(safetensors_dtype_bits("F6_E3M2"), 6);
  EXPECT_EQ(safetensors_dtype_bits("float32"), 0);
}

TEST(SafetensorsHeader, RefusesFilesShorterThanTheyShouldBe) {
  EXPECT_THAT(refusal(""), HasSubstr("0 bytes, expected at least the 8"));
  EXPECT_THAT(refusal("1234567"), HasSubstr("7 bytes, expected at least the 8"));
  EXPECT_THAT(refusal(little_endian(3) + "{}"), HasSubstr("a header of 3 bytes, but only 2 follow"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 7),
              HasSubstr(R"(tensor "a": ends at data byte 8, but the file holds 7)"));
}

TEST(SafetensorsHeader, RefusesLongHeaders) {
  EXPECT_THAT(refusal(little_endian(100'000'001) + "{}"),
              HasSubstr("a header of 100000001 bytes, expected at most 100000000"));
  EXPECT_THAT(refusal(std::string(8, '\xff') + "{}"), HasSubstr("a header of 18446744073709551615 bytes"));
}

TEST(SafetensorsHeader, RefusesWhatIsNoJsonObject) {
  for (const char* json : {"", "[]", " {}", "1", "\"a\"", "null"}) {
    EXPECT_THAT(refusal(json, 0), HasSubstr("the header is not a JSON object")) << json;
  }
  for (const char* json : {"{", "{}x", "{\"a\":}", "{'a':1}", "{\"\xff\":1}", "{}{}"}) {
    EXPECT_THAT(refusal(json, 0), HasSubstr("x.safetensors: header")) << json;
  }
}

TEST(SafetensorsHeader, RefusesDuplicateNames) {
  const std::string entry = R"({"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  EXPECT_THAT(refusal("{\"a\":" + entry + ",\"a\":" + entry + "}", 0), HasSubstr("\"a\""));
  EXPECT_THAT(refusal(R"({"__metadata__":{},"__metadata__":{}})", 0), HasSubstr("__metadata__"));
}

TEST(SafetensorsHeader, RefusesMetadataThatIsNotStrings) {
  EXPECT_THAT(refusal(R"({"__metadata__":{"format":"pt","n":3}})", 0),
              HasSubstr(R"(__metadata__: key "n" holds a number, expected a string)"));
  EXPECT_THAT(refusal(R"({"__metadata__":[]})", 0), HasSubstr("__metadata__: array, expected an object of strings"));
}

TEST(SafetensorsHeader, RefusesMalformedEntries) {
  EXPECT_THAT(refusal_of_entry("3"), HasSubstr(R"(tensor "a": number, expected an object)"));
  EXPECT_THAT(refusal_of_entry(R"({"shape":[2],"data_offsets":[0,8]})"), HasSubstr(R"(tensor "a": no dtype)"));
  EXPECT_THAT(refusal_of_entry(R"({"dtype":"F32","data_offsets":[0,8]})"), HasSubstr("no shape"));
  EXPECT_THAT(refusal_of_entry(R"({"dtype":"F32","shape":[2]})"), HasSubstr("no data_offsets"));
  EXPECT_THAT(refusal_of_entry(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8],"scale":2})"),
              HasSubstr(R"(unknown key "scale")"));
}

TEST(SafetensorsHeader, RefusesUnknownDtypes) {
  EXPECT_THAT(refusal_of_entry(R"({"dtype":"F33","shape":[2],"data_offsets":[0,8]})"),
              HasSubstr(R"(unknown dtype "F33")"));
  EXPECT_THAT(refusal_of_entry(R"({"dtype":"f32","shape":[2],"data_offsets":[0,8]})"),
              HasSubstr(R"(unknown dtype "f32")"));
  EXPECT_THAT(refusal_of_entry(R"({"dtype":32,"shape":[2],"data_offsets":[0,8]})"), HasSubstr("dtype is a number"));
}

TEST(SafetensorsHeader, RefusesBadShapes) {
  for (const char* shape : {"[-1]", "[1.5]", "[\"2\"]", "[[2]]", "[null]", "[9223372036854775808]", "[1e1]"}) {
    const std::string entry = fmt::format(R"({{"dtype":"F32","shape":{},"data_offsets":[0,8]}})", shape);
    EXPECT_THAT(refusal_of_entry(entry), HasSubstr("expected whole numbers of at least 0")) << shape;
  }
  EXPECT_THAT(refusal_of_entry(R"({"dtype":"F32","shape":2,"data_offsets":[0,8]})"), HasSubstr("shape is a number"));
}

TEST(SafetensorsHeader, RefusesShapesWhoseProductOverflows) {
  for (const char* shape : {"[4294967296,4294967296]", "[9223372036854775807,2]", "[0,4611686018427387904,4]",
                            "[4611686018427387904,4,0]", "[2305843009213693952]", "[4611686018427387906]"}) {
    const std::string entry = fmt::format(R"({{"dtype":"F32","shape":{},"data_offsets":[0,8]}})", shape);
    EXPECT_THAT(refusal_of_entry(entry), HasSubstr("overflows 64 bits")) << shape;
  }
}

TEST(SafetensorsHeader, RefusesSizesThatDoNotFitTheShape) {
  EXPECT_THAT(refusal_of_entry(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})"),
              HasSubstr(R"(tensor "a": 8 bytes, but shape [3] of F32 takes 12)"));
  EXPECT_THAT(refusal_of_entry(R"({"dtype":"F64","shape":[0],"data_offsets":[0,8]})"), HasSubstr("takes 0"));
  EXPECT_THAT(refusal_of_entry(R"({"dtype":"F4","shape":[3],"data_offsets":[0,2]})"),
              HasSubstr("not a whole number of bytes"));
}

TEST(SafetensorsHeader, RefusesBadOffsets) {
  for (const char* offsets :
       {"[0]", "[0,4,8]", "[8,0]", "[-8,0]", "[0,8.0]", "{}", "[0,\"8\"]", "[0,18446744073709551616]"}) {
    const std::string entry = fmt::format(R"({{"dtype":"F32","shape":[2],"data_offsets":{}}})", offsets);
    EXPECT_THAT(refusal_of_entry(entry), HasSubstr("expected [begin, end]")) << offsets;
  }
  EXPECT_THAT(
      refusal_of_entry(R"({"dtype":"U8","shape":[8],"data_offsets":[18446744073709551607,18446744073709551615]})"),
      HasSubstr("ends at data byte 18446744073709551615"));
}

TEST(SafetensorsHeader, RefusesOverlapsGapsAndTrailingBytes) {
  const auto two = [](const char* first, const char* second) {
    return fmt::format(
        R"({{"a":{{"dtype":"F32","shape":[1],"data_offsets":{}}},"b":{{"dtype":"F32","shape":[1],"data_offsets":{}}}}})",
        first, second);
  };
  EXPECT_THAT(refusal(two("[4,8]", "[2,6]"), 8), HasSubstr("2 unused bytes before data byte 2"));
  EXPECT_THAT(refusal(two("[0,4]", "[2,6]"), 8),
              HasSubstr(R"(tensor "b": begins at data byte 2, inside tensor "a", which ends at 4)"));
  EXPECT_THAT(refusal(two("[0,4]", "[0,4]"), 4), HasSubstr("inside tensor"));
  EXPECT_THAT(refusal(two("[0,4]", "[6,10]"), 10), HasSubstr("2 unused bytes before data byte 6"));
  EXPECT_THAT(refusal(two("[0,4]", "[4,8]"), 9), HasSubstr("1 bytes after the last tensor"));
  EXPECT_THAT(refusal("{}", 3), HasSubstr("3 bytes after the last tensor"));
}

TEST(SafetensorsHeader, KeepsMessagesOnOneLineWhateverTheName) {
  EXPECT_THAT(refusal(R"({"a\nb\"c":1})", 0), HasSubstr(R"(tensor "a\nb\"c": number)"));
}

TEST(SafetensorsHeader, RefusesPicklesWithAdvice) {
  const std::string zip = std::string("PK\x03\x04", 4) + std::string(100, '\0');
  const std::string protocol2 = "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19.";
  const std::string protocol4 = std::string("\x80\x04\x95\x10\0\0\0\0\0\0\0}", 12);
  for (const std::string& file : {zip, protocol2, protocol4, std::string("\x80\x02")}) {
    EXPECT_THAT(refusal(file), HasSubstr("pickle files are not opened; convert with: python -c \""));
  }
}

TEST(SafetensorsHeader, ReadsAHeaderWhoseLengthLooksLikeAPickle) {
  std::string json = R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})";
  json.resize(0x280, ' ');  // the file starts with 80 02
  EXPECT_EQ(parse(json, 1).entries.size(), 1u);
}

TEST(PickleAdvice, QuotesPathsForTheShell) {
  EXPECT_THAT(pickle_advice("my model/it's.bin", "my model/it's.safetensors"),
              testing::EndsWith(R"(" 'my model/it'\''s.safetensors' 'my model/it'\''s.bin')"));
  EXPECT_THAT(pickle_advice("my model/pytorch_model*.bin", "m"),
              testing::EndsWith(R"( 'm' 'my model/'pytorch_model*.bin)"));
}

}  // namespace
}  // namespace peft
