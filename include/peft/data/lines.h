#pragma once
/// Physical lines of a file, as docs/tasks.md#reading-rules defines them: they end at LF only, a CR directly before LF is dropped,
/// everything else is text. Reads in blocks: memory is bounded by the longest accepted line, and a file cut while it is read cannot crash
/// the reader.

#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "peft/base/hash.h"

namespace peft {

/// A path that means the standard input, whatever it is: a pipe, a file or a socket.
inline constexpr const char* kStandardInput = "/dev/stdin";

inline constexpr int64_t default_max_line_bytes = 16 << 20;

class LineReader {
 public:
  /// Drops a UTF-8 byte order mark. Throws DataError: missing, unreadable, a folder, UTF-16 or UTF-32.
  explicit LineReader(const std::filesystem::path& path, int64_t max_line_bytes = default_max_line_bytes);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  /// Goes to the next line; false at the end of the file. Throws DataError when the file changed while it was being read.
  bool next();

  std::string_view text() const { return text_; }      ///< without its end; valid until next(); empty when too_long()
  int64_t line() const { return line_; }               ///< 1-based
  bool too_long() const { return too_long_; }          ///< longer than max_line_bytes; passed over without being held
  std::string_view ending() const { return ending_; }  ///< "\n", "\r\n", or "" for a last line without LF
  bool at_end();                                       ///< no line follows; ends the life of text()
  const std::string& file() const { return file_; }

  std::string content_hash() const { return hasher_.hex(); }  ///< at the end of the file: equals hash_file(path)

 private:
  bool fill();  // reads one more block behind the unread bytes; false at the end of the file
  void check_unchanged() const;

  std::string file_;
  int64_t max_line_bytes_;
  int descriptor_ = -1;
  struct stat opened_ {};
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;  // unread bytes of buffer_
  bool exhausted_ = false;
  Hasher hasher_;

  std::string_view text_, ending_;
  int64_t line_ = 0;
  bool too_long_ = false;
};

/// Why a line is no text ("byte 17: invalid UTF-8 (0xff)", "byte 3: NUL"), or nothing. Bytes are counted from 1.
std::optional<std::string> encoding_problem(std::string_view line);

}  // namespace peft
