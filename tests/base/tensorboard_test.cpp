#include "peft/base/tensorboard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <bit>
#include <csignal>
#include <cstring>
#include <fstream>
#include <sstream>

#include "peft/base/error.h"

namespace peft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;
using testing::StartsWith;

std::filesystem::path fresh_folder() {
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "peft_tensorboard" / test->name();
  std::filesystem::remove_all(folder);
  return folder;
}

std::string content(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// Payloads of the whole records of a file; the framing is checked on the way.
std::vector<std::string> records(const std::filesystem::path& path) {
  const std::string file = content(path);
  const auto masked = [](std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xA282EAD8u; };
  const auto u32 = [&](std::size_t at) {
    uint32_t value = 0;
    std::memcpy(&value, file.data() + at, sizeof value);
    return value;
  };
  std::vector<std::string> payloads;
  for (std::size_t at = 0; at < file.size();) {
    uint64_t length = 0;
    std::memcpy(&length, file.data() + at, sizeof length);
    EXPECT_EQ(u32(at + 8), masked(std::string_view(file).substr(at, 8)));
    payloads.push_back(file.substr(at + 12, length));
    EXPECT_EQ(u32(at + 12 + length), masked(payloads.back()));
    at += 16 + length;
  }
  return payloads;
}

// Without the wall time, which is the first field: one key byte and eight bytes.
std::vector<std::string> timeless_records(const std::filesystem::path& path) {
  std::vector<std::string> payloads = records(path);
  for (std::string& payload : payloads) {
    EXPECT_EQ(payload[0], '\x09');
    payload.erase(0, 9);
  }
  return payloads;
}

TEST(Crc32c, AgreesWithRfc3720) {
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43u);
  std::string rising;
  for (char c = 0; c < 32; ++c) rising.push_back(c);
  EXPECT_EQ(crc32c(rising), 0x46DD794Eu);
  EXPECT_EQ(crc32c(std::string(rising.rbegin(), rising.rend())), 0x113FDB5Cu);
}

TEST(EventWriter, StartsWithVersionAndSessionStart) {
  const auto folder = fresh_folder();
  EventWriter writer(folder, 300);
  writer.flush();
  using namespace std::string_literals;
  EXPECT_THAT(timeless_records(writer.path()), ElementsAre("\x10\x00\x1a\x0d"
                                                           "brain.Event:2"s,
                                                           "\x10\xac\x02\x3a\x02\x08\x01"s));
}

TEST(EventWriter, WritesTagValueAndStep) {
  EventWriter writer(fresh_folder(), 0);
  writer.add_scalar("train/loss", 0.5, 7);
  writer.flush();
  using namespace std::string_literals;
  ASSERT_THAT(records(writer.path()), SizeIs(3));
  EXPECT_EQ(timeless_records(writer.path())[2], "\x10\x07\x2a\x13\x0a\x11\x0a\x0atrain/loss\x15\x00\x00\x00\x3f"s);
}

TEST(EventWriter, WritesNegativeStepsAndLargeStepsAsInt64) {
  EventWriter writer(fresh_folder(), -1);
  writer.add_scalar("a", 0, int64_t{1} << 40);
  writer.flush();
  const auto payloads = timeless_records(writer.path());
  EXPECT_THAT(payloads[1], StartsWith("\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x3a"));
  EXPECT_THAT(payloads[2], StartsWith("\x10\x80\x80\x80\x80\x80\x20\x2a"));
}

TEST(EventWriter, FlushesWhenTheBufferIsFullAndAtTheEnd) {
  std::filesystem::path path;
  {
    EventWriter writer(fresh_folder(), 0);
    path = writer.path();
    for (int step = 0; step < 3000; ++step) writer.add_scalar("loss", step, step);
    EXPECT_GE(std::filesystem::file_size(path), 64u << 10);
  }
  EXPECT_THAT(records(path), SizeIs(3002));
}

TEST(EventWriter, SessionsOfOneSecondSortInOrder) {
  const auto folder = fresh_folder();
  std::vector<std::string> names;
  for (int session = 0; session < 4; ++session)
    names.push_back(EventWriter(folder, session).path().filename().string());
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
}

TEST(EventWriter, SortsAfterFilesOfAClockThatRanAhead) {
  const auto folder = fresh_folder();
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "events.out.tfevents.9000000000.host.1");
  EXPECT_THAT(EventWriter(folder, 0).path().filename().string(), StartsWith("events.out.tfevents.9000000001."));
}

TEST(EventWriter, FullDiskKeepsWholeRecordsAndLosesNone) {
  EventWriter writer(fresh_folder(), 0);
  writer.add_scalar("a", 1, 1);
  writer.flush();
  const auto before = content(writer.path());

  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const rlimit tight{before.size() + 5, old_limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tight), 0);
  writer.add_scalar("b", 2, 2);
  std::string message;
  try {
    writer.flush();
  } catch (const Error& e) {
    message = e.what();
    EXPECT_EQ(e.code(), ExitCode::other);
  }
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  std::signal(SIGXFSZ, old_handler);

  EXPECT_THAT(message, StartsWith(writer.path().string() + ": cannot write: "));
  EXPECT_EQ(content(writer.path()), before);
  writer.flush();
  EXPECT_THAT(records(writer.path()), SizeIs(4));
}

TEST(EventWriter, UnusableFolderIsAnErrorThatNamesIt) {
  const auto folder = fresh_folder();
  std::filesystem::create_directories(folder.parent_path());
  std::ofstream{folder} << "a file";
  try {
    EventWriter writer(folder, 0);
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr(folder.string()));
  }
}

}  // namespace
}  // namespace peft
