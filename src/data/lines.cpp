#include "peft/data/lines.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "peft/base/error.h"
#include "peft/text/utf8.h"

namespace peft {
namespace {

constexpr std::size_t block_bytes = 256 << 10;

bool starts_with_wide_mark(std::string_view text) {
  using namespace std::string_view_literals;
  return text.starts_with("\xFF\xFE"sv) || text.starts_with("\xFE\xFF"sv) || text.starts_with("\0\0\xFE\xFF"sv);
}

}  // namespace

std::optional<std::string> encoding_problem(std::string_view line) {
  const std::size_t nul = line.find('\0');
  const auto invalid = find_invalid_utf8(line);
  if (nul < invalid.value_or(line.size())) return fmt::format("byte {}: NUL", nul + 1);
  if (invalid) return describe_invalid_utf8(line, *invalid);
  return std::nullopt;
}

LineReader::LineReader(const std::filesystem::path& path, int64_t max_line_bytes)
    : file_(path.string()), max_line_bytes_(max_line_bytes), buffer_(2 * block_bytes) {
  // Its device cannot be opened where it is a socket.
  descriptor_ = path == kStandardInput ? ::dup(STDIN_FILENO) : ::open(file_.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) throw_error<DataError>("{}: {}", file_, std::strerror(errno));
  const bool known = ::fstat(descriptor_, &opened_) == 0;
  const bool folder = known && S_ISDIR(opened_.st_mode);
  if (!known || folder) {
    ::close(descriptor_);
    throw_error<DataError>("{}: {}", file_, folder ? "a folder, expected a file" : std::strerror(errno));
  }
  try {
    while (end_ < 4 && fill()) {
    }
    const std::string_view start(buffer_.data(), end_);
    if (starts_with_wide_mark(start)) throw_error<DataError>("{}: looks like UTF-16; convert to UTF-8", file_);
    if (start.starts_with("\xEF\xBB\xBF")) begin_ = 3;
  } catch (...) {
    ::close(descriptor_);  // no destructor runs for an object whose constructor throws
    throw;
  }
}

LineReader::~LineReader() { ::close(descriptor_); }

bool LineReader::fill() {
  if (exhausted_) return false;
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (buffer_.size() - end_ < block_bytes) buffer_.resize(2 * buffer_.size());
  ssize_t got = 0;
  do {
    got = ::read(descriptor_, buffer_.data() + end_, block_bytes);
  } while (got < 0 && errno == EINTR);
  if (got < 0) throw_error<DataError>("{}: {}", file_, std::strerror(errno));
  if (got == 0) {
    exhausted_ = true;
    check_unchanged();
    return false;
  }
  hasher_.add(std::as_bytes(std::span(buffer_.data() + end_, static_cast<std::size_t>(got))));
  end_ += static_cast<std::size_t>(got);
  return true;
}

void LineReader::check_unchanged() const {
  if (!S_ISREG(opened_.st_mode)) return;  // of a pipe they say nothing
  struct stat now {};
  if (::fstat(descriptor_, &now) != 0 || now.st_size != opened_.st_size ||
      now.st_mtim.tv_sec != opened_.st_mtim.tv_sec || now.st_mtim.tv_nsec != opened_.st_mtim.tv_nsec)
    throw_error<DataError>("{}: changed while it was being read", file_);
}

bool LineReader::at_end() { return begin_ == end_ && !fill(); }

bool LineReader::next() {
  text_ = ending_ = {};
  too_long_ = false;
  if (at_end()) return false;
  ++line_;
  // A line is held up to its limit and the bytes of CR LF; `searched` bytes of it are known to hold no LF.
  const std::size_t longest = static_cast<std::size_t>(max_line_bytes_) + 2;
  std::size_t searched = 0;
  while (true) {
    const char* start = buffer_.data() + begin_;
    const std::size_t available = end_ - begin_;
    const auto* feed = static_cast<const char*>(std::memchr(start + searched, '\n', available - searched));
    if (feed != nullptr || (available - searched == 0 && exhausted_)) {
      std::size_t size = feed ? static_cast<std::size_t>(feed - start) : available;
      begin_ += size + (feed ? 1 : 0);
      if (feed) ending_ = "\n";
      if (feed && size > 0 && start[size - 1] == '\r') {
        --size;
        ending_ = "\r\n";
      }
      too_long_ = too_long_ || size > static_cast<std::size_t>(max_line_bytes_);
      if (!too_long_) text_ = {start, size};
      return true;
    }
    searched = available;
    if (available > longest) {  // pass over it without holding it
      too_long_ = true;
      begin_ = end_;
      searched = 0;
    }
    fill();
  }
}

}  // namespace peft
