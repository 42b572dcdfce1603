#include "peft/base/tensorboard.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>

#include "peft/base/error.h"

namespace peft {
namespace {

constexpr std::string_view kPrefix = "events.out.tfevents.";
constexpr std::size_t kBufferBytes = 64 << 10;

// Field numbers of tensorflow's event.proto and summary.proto.
namespace event {
constexpr int kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSessionLog = 7;
}
namespace session_log {
constexpr int kStatus = 1, kStart = 1;
}
namespace summary {
constexpr int kValue = 1, kTag = 1, kSimpleValue = 2;
}

enum class Wire { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

template <class Unsigned>
void put_little_endian(std::string& out, Unsigned value) {
  for (std::size_t i = 0; i < sizeof value; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

void put_key(std::string& out, int field, Wire wire) {
  put_varint(out, static_cast<uint64_t>(field) << 3 | static_cast<uint64_t>(wire));
}

void put_varint_field(std::string& out, int field, int64_t value) {
  put_key(out, field, Wire::varint);
  put_varint(out, static_cast<uint64_t>(value));
}

void put_double_field(std::string& out, int field, double value) {
  put_key(out, field, Wire::fixed64);
  put_little_endian(out, std::bit_cast<uint64_t>(value));
}

void put_float_field(std::string& out, int field, float value) {
  put_key(out, field, Wire::fixed32);
  put_little_endian(out, std::bit_cast<uint32_t>(value));
}

void put_bytes_field(std::string& out, int field, std::string_view value) {
  put_key(out, field, Wire::bytes);
  put_varint(out, value.size());
  out += value;
}

constexpr std::array<uint32_t, 256> crc32c_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78u : 0u);
    table[i] = crc;
  }
  return table;
}

// TFRecord masks its checksums because a CRC over data that holds its own CRC is weak.
uint32_t masked_crc32c(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xA282EAD8u; }

double wall_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
  std::string host = name.data();
  std::replace(host.begin(), host.end(), '/', '_');
  return host;
}

// The time part of the new file's name: after every existing one, also when the clock was set back or a second has not
// passed.
int64_t next_seconds(const std::filesystem::path& folder) {
  auto seconds = static_cast<int64_t>(wall_time());
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    const std::string name = file.path().filename().string();
    if (!name.starts_with(kPrefix)) continue;
    int64_t existing = 0;
    const auto [end, error] = std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), existing);
    if (error == std::errc() && (end == name.data() + name.size() || *end == '.'))
      seconds = std::max(seconds, existing + 1);
  }
  return seconds;
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  static constexpr auto table = crc32c_table();
  uint32_t crc = 0xFFFFFFFFu;
  for (const char c : bytes) crc = table[(crc ^ static_cast<unsigned char>(c)) & 0xFF] ^ (crc >> 8);
  return ~crc;
}

EventWriter::EventWriter(const std::filesystem::path& folder, int64_t first_step) {
  try {
    std::filesystem::create_directories(folder);
    path_ = folder / fmt::format("{}{:010}.{}.{}", kPrefix, next_seconds(folder), host_name(), ::getpid());
  } catch (const std::filesystem::filesystem_error& e) {
    throw_error("{}: cannot create: {}", folder.string(), e.code().message());
  }
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor_ < 0) throw_error("{}: cannot create: {}", path_.string(), std::strerror(errno));

  std::string version, status, session;
  put_bytes_field(version, event::kFileVersion, "brain.Event:2");
  add_event(version, 0);
  put_varint_field(status, session_log::kStatus, session_log::kStart);
  put_bytes_field(session, event::kSessionLog, status);
  add_event(session, first_step);
}

EventWriter::~EventWriter() {
  try {
    flush();
  } catch (const Error&) {  // the header says so
  }
  ::close(descriptor_);
}

void EventWriter::add_scalar(std::string_view tag, double value, int64_t step) {
  std::string entry, values, fields;
  put_bytes_field(entry, summary::kTag, tag);
  put_float_field(entry, summary::kSimpleValue, static_cast<float>(value));
  put_bytes_field(values, summary::kValue, entry);
  put_bytes_field(fields, event::kSummary, values);
  add_event(fields, step);
  if (pending_.size() >= kBufferBytes) flush();
}

void EventWriter::add_event(std::string_view fields, int64_t step) {
  std::string payload, length;
  put_double_field(payload, event::kWallTime, wall_time());
  put_varint_field(payload, event::kStep, step);
  payload += fields;
  put_little_endian(length, static_cast<uint64_t>(payload.size()));
  pending_ += length;
  put_little_endian(pending_, masked_crc32c(length));
  pending_ += payload;
  put_little_endian(pending_, masked_crc32c(payload));
}

void EventWriter::flush() {
  for (std::size_t done = 0; done < pending_.size();) {
    const ssize_t count =
        ::pwrite(descriptor_, pending_.data() + done, pending_.size() - done, written_ + static_cast<int64_t>(done));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      const int reason = count < 0 ? errno : ENOSPC;
      // A torn record would hide every later one. Where even the cut fails, the next flush writes over the torn part.
      [[maybe_unused]] const int cut = ::ftruncate(descriptor_, written_);
      throw_error("{}: cannot write: {}", path_.string(), std::strerror(reason));
    }
    done += static_cast<std::size_t>(count);
  }
  written_ += static_cast<int64_t>(pending_.size());
  pending_.clear();
}

}  // namespace peft
