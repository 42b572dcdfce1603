#include "peft/base/hash.h"

#include <gtest/gtest.h>

#include "peft/base/error.h"
#include "tests/base/temporary_folder.h"

namespace peft {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

TEST(Hash64, IsXxh3) {
  EXPECT_EQ(hash64(""), 0x2D06800538D394C2U);
  EXPECT_EQ(hash64("", 1), 0x4DC5B0CC826F6703U);
  EXPECT_NE(hash64("a"), hash64("a", 1));
}

TEST(Hasher, OfNothingIsThePublishedValue) { EXPECT_EQ(Hasher().hex(), "99aa06d3014798d86001c324468d497f"); }

TEST(Hasher, BytesMayComeInPieces) {
  Hasher whole, pieces;
  whole.add(bytes_of("hello world"));
  pieces.add(bytes_of("hello ")).add(bytes_of("world"));
  EXPECT_EQ(whole.hex(), pieces.hex());
}

TEST(Hasher, TextsAreKeptApart) {
  Hasher first, second, empty;
  first.add("ab").add("c");
  second.add("a").add("bc");
  empty.add("");
  EXPECT_NE(first.hex(), second.hex());
  EXPECT_NE(empty.hex(), Hasher().hex());
}

TEST(HashFile, IsTheHashOfItsBytes) {
  const TemporaryFolder folder;
  put(folder / "a", "hello world");
  EXPECT_EQ(hash_file(folder / "a"), Hasher().add(bytes_of("hello world")).hex());
  EXPECT_EQ(hash_file(folder / "a").size(), 32U);
  EXPECT_THROW(hash_file(folder / "absent"), DataError);
}

}  // namespace
}  // namespace peft
