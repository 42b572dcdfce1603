#include "peft/submission/zip.h"

#include <gmock/gmock.h>
#include <zip.h>

#include <cstdlib>
#include <ctime>

#include "tests/data/fixtures.h"

namespace peft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

class Zip : public FolderTest {
 protected:
  std::string save(const std::string& bytes) { return write("x.zip", bytes); }
  std::string failure(const ZipLimits& limits = {}) {
    try {
      read_zip(folder_ / "x.zip", limits);
    } catch (const DataError& error) {
      return error.what();
    }
    return {};
  }
  /// Any archive that libzip makes; a name that ends in "/" is a folder.
  std::string make(const NamedFiles& files, bool encrypted = false) {
    const std::string path = (folder_ / "x.zip").string();
    zip_t* archive = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, nullptr);
    for (const auto& [name, content] : files) {
      if (name.ends_with('/')) {
        zip_dir_add(archive, name.c_str(), 0);
        continue;
      }
      zip_source_t* source = zip_source_buffer(archive, content.data(), content.size(), 0);
      const auto number = static_cast<zip_uint64_t>(zip_file_add(archive, name.c_str(), source, 0));
      if (encrypted) zip_file_set_encryption(archive, number, ZIP_EM_AES_256, "secret");
    }
    EXPECT_EQ(zip_close(archive), 0);
    return path;
  }
};

TEST_F(Zip, GivesBackItsFilesInTheOrderOfTheirNames) {
  save(zip_bytes({{"b.tsv", std::string(100000, 'x')}, {"a.tsv", "one\n"}, {"c.tsv", ""}}));
  const ZipContent content = read_zip(folder_ / "x.zip");
  EXPECT_THAT(content.problems, IsEmpty());
  EXPECT_THAT(content.files,
              ElementsAre(Pair("a.tsv", "one\n"), Pair("b.tsv", std::string(100000, 'x')), Pair("c.tsv", "")));
}

TEST_F(Zip, HasEqualBytesInEveryTimeZoneAndAtEveryTime) {
  const auto in_zone = [](const char* zone) {
    setenv("TZ", zone, 1);
    tzset();
    return zip_bytes({{"a.tsv", "one\n"}, {"b.tsv", "two\n"}});
  };
  const std::string here = in_zone("UTC");
  for (const char* zone : {"America/New_York", "Asia/Kolkata", "Pacific/Kiritimati", "Europe/Berlin"})
    EXPECT_EQ(in_zone(zone), here) << zone;
  unsetenv("TZ");
  tzset();
  zip_stat_t stat;
  save(here);
  zip_t* archive = zip_open((folder_ / "x.zip").c_str(), ZIP_RDONLY, nullptr);
  ASSERT_EQ(zip_stat_index(archive, 0, 0, &stat), 0);
  const std::tm time = *std::localtime(&stat.mtime);
  EXPECT_EQ(time.tm_year, 80);
  EXPECT_EQ(time.tm_hour, 12);
  zip_discard(archive);
}

TEST_F(Zip, RefusesFoldersAndPaths) {
  const std::string path =
      make({{"a.tsv", "1"}, {"sub/", ""}, {"sub/b.tsv", "2"}, {"../c.tsv", "3"}, {"d\\e.tsv", "4"}, {"..", "5"}});
  const ZipContent content = read_zip(path);
  EXPECT_THAT(content.files, ElementsAre(Pair("a.tsv", "1")));
  EXPECT_THAT(content.problems,
              ElementsAre(path + ": the folder \"sub/\"; expected files alone",
                          path + ": the path \"sub/b.tsv\"; expected names without folders; 2 more like this",
                          path + ": the name \"..\"; expected a file's"));
}

TEST_F(Zip, RefusesNamesThatOccurTwice) {
  std::string bytes = zip_bytes({{"a.tsv", "1"}, {"b.tsv", "2"}});
  for (std::size_t at; (at = bytes.find("b.tsv")) != std::string::npos;) bytes[at] = 'a';
  save(bytes);
  const ZipContent content = read_zip(folder_ / "x.zip");
  EXPECT_THAT(content.files, ElementsAre(Pair("a.tsv", "1")));
  EXPECT_THAT(content.problems,
              ElementsAre((folder_ / "x.zip").string() + ": the name \"a.tsv\" occurs twice; expected it once"));
}

TEST_F(Zip, RefusesWhatUnpacksToTooMuch) {
  make({{"a.tsv", std::string(600, '0')}, {"b.tsv", std::string(500, '0')}});
  EXPECT_EQ(failure({.bytes = 2000}), "");
  EXPECT_EQ(failure({.bytes = 1000}),
            (folder_ / "x.zip").string() + "/b.tsv: the archive unpacks to more than 1000 bytes; expected less");
  EXPECT_EQ(failure({.members = 1}), (folder_ / "x.zip").string() + ": 2 members; expected at most 1");
}

TEST_F(Zip, RefusesASizeThatItsHeaderUnderstates) {
  std::string bytes = zip_bytes({{"a.tsv", std::string(100000, '0')}});
  const std::string size{'\xA0', '\x86', '\x01', '\0'};  // 100000
  for (std::size_t at; (at = bytes.find(size)) != std::string::npos;)
    bytes.replace(at, 4, std::string("\x01\0\0\0", 4));
  save(bytes);
  EXPECT_NE(failure({.bytes = 1000}), "");
}

TEST_F(Zip, RefusesWhatIsDamaged) {
  const std::string sound = zip_bytes({{"a.tsv", "some text that is long enough to be packed, packed, packed\n"}});
  save("");
  EXPECT_THAT(failure(), HasSubstr("; expected a zip archive"));
  save("index\tprediction\n");
  EXPECT_THAT(failure(), HasSubstr("; expected a zip archive"));
  for (std::size_t size = 0; size < sound.size(); ++size) {
    save(sound.substr(0, size));
    EXPECT_NE(failure(), "") << size;
  }
  std::string bytes = sound;
  bytes[45] = static_cast<char>(bytes[45] ^ 0x55);  // inside the packed text
  save(bytes);
  EXPECT_THAT(failure(), HasSubstr("x.zip/a.tsv: "));
}

TEST_F(Zip, RefusesEncryptedMembers) {
  make({{"a.tsv", "1"}}, /*encrypted=*/true);
  EXPECT_THAT(failure(), HasSubstr("x.zip/a.tsv: "));
}

}  // namespace
}  // namespace peft
