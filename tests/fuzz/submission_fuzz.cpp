// The rules of the leaderboards' files on any bytes. The first byte picks the file. What passes must be what the rules
// say of every file.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "peft/submission/validate.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto& table = peft::submission_table();
  const peft::SubmissionFile& file = table[data[0] % table.size()];
  const std::string_view content(reinterpret_cast<const char*>(data) + 1, size - 1);
  peft::TestRows rows;
  rows.idx = {0, 3};
  rows.passages = {{0, {{0, {0, 1}}}}, {3, {{5, {2}}, {6, {3}}}}};
  rows.entities = {{0, {"a"}}, {3, {"a", "b"}}};
  peft::Validation validation;
  peft::validate_content(file, content, file.name, rows, validation);
  for (const auto& line : validation.failures)
    if (!line.starts_with(file.name + ":") || line.find("; expected") == std::string::npos) std::abort();
  if (!validation.passed()) return 0;
  std::size_t lines = 0;
  for (const char c : content) lines += c == '\n' ? 1 : 0;
  const bool sound = content.ends_with('\n') && lines == rows.idx.size() + (file.tsv() ? 1 : 0) &&
                     content.find('\r') == std::string_view::npos && !content.starts_with("\xEF\xBB\xBF");
  if (!sound) std::abort();
  return 0;
}
