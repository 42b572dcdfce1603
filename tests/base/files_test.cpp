#include "peft/base/files.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "peft/base/error.h"
#include "tests/base/temporary_folder.h"

namespace fs = std::filesystem;

namespace peft {
namespace {

template <class E, class Act>
std::string message_of(const Act& act) {
  try {
    act();
  } catch (const E& error) {
    return error.what();
  }
  return "no error";
}

/// The file system refuses to let files grow beyond `bytes`, as a full disk does.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    getrlimit(RLIMIT_FSIZE, &before_);
    handler_ = signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  sighandler_t handler_;
};

TEST(MappedFile, ShowsTheWholeContent) {
  const TemporaryFolder folder;
  put(folder / "a", std::string("x\0y", 3));
  EXPECT_EQ(MappedFile(folder / "a").text(), std::string_view("x\0y", 3));
  EXPECT_EQ(MappedFile(folder / "a").bytes().size(), 3U);
}

TEST(MappedFile, AnEmptyFileIsEmpty) {
  const TemporaryFolder folder;
  put(folder / "a", "");
  EXPECT_TRUE(MappedFile(folder / "a").text().empty());
}

TEST(MappedFile, Moves) {
  const TemporaryFolder folder;
  put(folder / "a", "first");
  put(folder / "b", "second");
  MappedFile a(folder / "a");
  MappedFile moved(std::move(a));
  EXPECT_EQ(moved.text(), "first");
  moved = MappedFile(folder / "b");
  EXPECT_EQ(moved.text(), "second");
}

TEST(MappedFile, AMissingFileTellsWhatIsThere) {
  const TemporaryFolder folder;
  put(folder / "train.tsv", "");
  put(folder / "dev.tsv", "");
  EXPECT_EQ(message_of<DataError>([&] { MappedFile(folder / "tran.tsv"); }),
            (folder / "tran.tsv").string() + ": no such file; " + folder.path().string() + " holds dev.tsv, train.tsv");
  EXPECT_EQ(message_of<DataError>([&] { MappedFile(folder / "x/y"); }),
            (folder / "x/y").string() + ": cannot open: No such file or directory");
}

TEST(MappedFile, RefusesFoldersAndPipes) {
  const TemporaryFolder folder;
  EXPECT_EQ(message_of<DataError>([&] { MappedFile m(folder.path()); }),
            folder.path().string() + ": is a folder, expected a file");
  mkfifo((folder / "pipe").c_str(), 0600);
  EXPECT_THAT(message_of<DataError>([&] { MappedFile m(folder / "pipe"); }),
              testing::HasSubstr("expected a regular file"));
}

TEST(WriteAtomic, CreatesParentsAndReplacesTheContent) {
  const TemporaryFolder folder;
  const fs::path path = folder / "a/b/c.txt";
  write_atomic(path, "old content");
  EXPECT_EQ(content_of(path), "old content");
  write_atomic(path, "new");
  EXPECT_EQ(content_of(path), "new");
  EXPECT_EQ(describe_folder(path.parent_path()), "c.txt");
}

TEST(WriteAtomic, JoinsThePiecesOfASink) {
  const TemporaryFolder folder;
  const std::string pieces[] = {"one ", "", "two"};
  write_atomic(folder / "a", [&](const auto& sink) {
    for (const auto& piece : pieces) sink(std::as_bytes(std::span(piece)));
  });
  EXPECT_EQ(content_of(folder / "a"), "one two");
}

TEST(WriteAtomic, FullDiskKeepsTheOldFileAndLeavesNoTemporary) {
  const TemporaryFolder folder;
  put(folder / "a", "old");
  std::string message;
  {
    const FileSizeLimit limit(4096);
    message = message_of<Error>([&] { write_atomic(folder / "a", std::string(100000, 'x')); });
  }
  EXPECT_EQ(message, (folder / "a").string() + ": cannot write: File too large");
  EXPECT_EQ(content_of(folder / "a"), "old");
  EXPECT_EQ(describe_folder(folder.path()), "a");
}

TEST(WriteAtomic, AWriterThatThrowsKeepsTheOldFileAndLeavesNoTemporary) {
  const TemporaryFolder folder;
  put(folder / "a", "old");
  EXPECT_THROW(write_atomic(folder / "a",
                            [](const auto& sink) {
                              sink(std::as_bytes(std::span("half", 4)));
                              throw DataError("stop");
                            }),
               DataError);
  EXPECT_EQ(content_of(folder / "a"), "old");
  EXPECT_EQ(describe_folder(folder.path()), "a");
}

TEST(WriteAtomic, FailuresNameThePathAndTheReason) {
  const TemporaryFolder folder;
  EXPECT_EQ(message_of<Error>([&] { write_atomic(folder.path(), "x"); }),
            folder.path().string() + ": cannot write: is a folder");
  put(folder / "file", "");
  EXPECT_EQ(message_of<Error>([&] { write_atomic(folder / "file/below", "x"); }),
            (folder / "file/below").string() + ": cannot write: Not a directory");
  EXPECT_EQ(message_of<Error>([&] { write_atomic(folder / "file/below/deeper", "x"); }),
            (folder / "file/below").string() + ": cannot create the folder: Not a directory");
  EXPECT_THAT(message_of<Error>([&] { write_atomic("/dev/full", "x"); }),
              testing::StartsWith("/dev/full: cannot write: "));
}

TEST(WriteAtomic, WritesIntoADeviceInsteadOfReplacingIt) {
  write_atomic("/dev/null", "x");
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

TEST(WriteAtomic, ThroughALinkReplacesTheFileItNames) {
  const TemporaryFolder folder;
  put(folder / "real/a", "old");
  fs::create_symlink("real/a", folder / "link");
  write_atomic(folder / "link", "new");
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  EXPECT_EQ(content_of(folder / "real/a"), "new");
}

TEST(WriteAtomic, KeepsTheUsualPermissionsAndLongNames) {
  const TemporaryFolder folder;
  const mode_t mask = umask(0027);
  const fs::path path = folder / std::string(255, 'n');
  write_atomic(path, "x");
  umask(mask);
  EXPECT_EQ(fs::status(path).permissions(), fs::perms(0640));
}

TEST(WriteAtomic, AReaderSeesTheOldOrTheNewContentNeverAMixture) {
  const TemporaryFolder folder;
  const std::string contents[] = {std::string(50000, 'a'), std::string(70000, 'b')};
  write_atomic(folder / "a", contents[0]);
  std::atomic<bool> done = false;
  std::thread writer([&] {
    for (int i = 0; i < 50; ++i) write_atomic(folder / "a", contents[i % 2]);
    done = true;
  });
  while (!done) {
    const std::string seen = content_of(folder / "a");
    if (seen != contents[0] && seen != contents[1]) ADD_FAILURE() << "a mixture of " << seen.size() << " bytes";
  }
  writer.join();
}

TEST(DescribeFolder, ListsTheFirstEightNames) {
  const TemporaryFolder folder;
  EXPECT_EQ(describe_folder(folder.path()), "nothing");
  EXPECT_EQ(describe_folder(folder / "absent"), "nothing");
  for (const char c : std::string("hgfedcba")) put(folder / std::string(1, c), "");
  EXPECT_EQ(describe_folder(folder.path()), "a, b, c, d, e, f, g, h");
  put(folder / "i", "");
  put(folder / "j", "");
  EXPECT_EQ(describe_folder(folder.path()), "a, b, c, d, e, f, g, h and 2 more");
}

}  // namespace
}  // namespace peft
