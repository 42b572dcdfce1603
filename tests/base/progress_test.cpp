#include "peft/base/progress.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>

#include "peft/base/log.h"
#include "src/base/progress_text.h"

namespace peft {
namespace {

/// stderr as a terminal of 40 columns whose screen can be read.
class Terminal {
 public:
  Terminal() : master_(posix_openpt(O_RDWR | O_NOCTTY)), saved_(dup(STDERR_FILENO)) {
    grantpt(master_);
    unlockpt(master_);
    const int slave = open(ptsname(master_), O_RDWR | O_NOCTTY);
    const winsize size{.ws_row = 24, .ws_col = 40, .ws_xpixel = 0, .ws_ypixel = 0};
    ioctl(slave, TIOCSWINSZ, &size);
    dup2(slave, STDERR_FILENO);
    close(slave);
    setenv("TERM", "xterm", 1);
    fcntl(master_, F_SETFL, O_NONBLOCK);
  }
  ~Terminal() {
    dup2(saved_, STDERR_FILENO);
    close(saved_);
    close(master_);
  }

  std::string output() const {
    std::string out;
    char buffer[4096];
    for (ssize_t n = 0; (n = read(master_, buffer, sizeof buffer)) > 0;) out.append(buffer, std::size_t(n));
    return out;
  }

 private:
  int master_, saved_;
};

TEST(Progress, IsSilentWithoutATerminal) {
  testing::internal::CaptureStderr();
  {
    Progress progress("train", 10);
    progress.update(0);
    progress.update(10, "loss 1");
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(Progress, DrawsOnATerminalAndClearsAtTheEnd) {
  const Terminal terminal;
  {
    Progress progress("train", 10);
    progress.update(3, "loss 1");
    EXPECT_EQ(terminal.output(), "\r\x1b[Ktrain 3/10 30%, loss 1");
  }
  EXPECT_EQ(terminal.output(), "\r\x1b[K");
}

TEST(Progress, DrawsAtMostTenTimesASecond) {
  const Terminal terminal;
  Progress progress("train", 1000000);
  for (int i = 0; i < 100; ++i) progress.update(i);
  const std::string output = terminal.output();
  EXPECT_THAT(output, testing::StartsWith("\r\x1b[Ktrain 0/1000000 0%"));
  EXPECT_LT(output.size(), 200U);
}

TEST(Progress, FitsTheWidthOfTheTerminal) {
  const Terminal terminal;
  Progress progress("train", 10);
  progress.update(3, "é" + std::string(100, 'x'));
  EXPECT_EQ(terminal.output(), "\r\x1b[Ktrain 3/10 30%, é" + std::string(39 - 17, 'x'));
}

TEST(Log, WritesOneLineToStderr) {
  testing::internal::CaptureStderr();
  log_info("step {} of\n{}", 1, 2);
  log_warning("odd");
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              testing::MatchesRegex("..:..:.. info: step 1 of 2\n..:..:.. warning: odd\n"));
}

TEST(Log, KeepsTheProgressLineIntact) {
  const Terminal terminal;
  Progress progress("train", 10);
  progress.update(3);
  terminal.output();
  log_info("saved");
  const std::string output = terminal.output();
  EXPECT_THAT(output, testing::StartsWith("\r\x1b[K"));
  EXPECT_THAT(output, testing::EndsWith(" info: saved\r\ntrain 3/10 30%"));  // the terminal adds the carriage return
}

TEST(ProgressText, TellsRateAndTimeLeft) {
  EXPECT_EQ(progress_text({.label = "train", .done = 30, .total = 100, .first = 10, .seconds = 4, .note = "loss 0.5"}),
            "train 30/100 30% 5.0/s 0:14 left, loss 0.5");
  EXPECT_EQ(progress_text({.label = "train", .done = 2, .total = 1000, .seconds = 10}),
            "train 2/1000 0% 0.2/s 1:23:10 left");
  EXPECT_EQ(progress_text({.label = "train", .done = 1, .total = 3, .seconds = 100}),
            "train 1/3 33% 100.0 s each 3:20 left");
}

TEST(ProgressText, SaysNothingItDoesNotKnow) {
  EXPECT_EQ(progress_text({.label = "read", .total = 100}), "read 0/100 0%");
  EXPECT_EQ(progress_text({.label = "read", .done = 50, .seconds = 10}), "read 50 5.0/s");
  EXPECT_EQ(progress_text({.label = "read", .done = 5, .total = 5, .seconds = 1}), "read 5/5 100% 5.0/s 0:00 left");
}

TEST(ProgressText, CountsWholeThingsAndEstimatesWithThoseUnderWay) {
  EXPECT_EQ(progress_text({.label = "sweep",
                           .unit = "runs",
                           .done = 2,
                           .total = 10,
                           .under_way = 0.5,
                           .first = 1.0,
                           .seconds = 30,
                           .note = "best accuracy 0.9"}),
            "sweep 2/10 runs 25% 20.0 s each 2:30 left, best accuracy 0.9");
}

}  // namespace
}  // namespace peft
