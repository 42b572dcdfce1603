#pragma once
/// TensorBoard event files: scalars only, no protobuf and no TensorFlow needed.
///
/// A file is a sequence of TFRecords: uint64 length, masked CRC32C of the length, payload, masked CRC32C of the payload, all little
/// endian. The payload is a protobuf `tensorflow.Event`.    [tensorflow/core/lib/io/record_writer.cc, core/util/event.proto]

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace peft {

/// CRC-32C (Castagnoli), reflected polynomial 0x82F63B78, start and final exclusive or 0xFFFFFFFF: crc32c("123456789") = 0xE3069283.
uint32_t crc32c(std::string_view bytes);

/// One session's event file in a run folder: `events.out.tfevents.<seconds>.<host>.<pid>`.
///
/// Every session (the first and each resume) has its own file, which starts with a START record carrying `first_step`, the first step
/// this session will log: TensorBoard then drops what earlier sessions logged at that step or later. TensorBoard reads a folder's files
/// in the order of their names, so <seconds> is the time or, where an existing file says so already or later, one second more than it.
/// Whatever happens, the file on disk consists of whole records; records not yet written are kept and written by the next flush.
class EventWriter {
 public:
  /// Creates the folder where needed, and the file. Throws Error naming the path and the system's reason.
  EventWriter(const std::filesystem::path& folder, int64_t first_step);
  ~EventWriter();  ///< flushes; an error is not reported here, so call flush() at the end of a run
  EventWriter(const EventWriter&) = delete;
  EventWriter& operator=(const EventWriter&) = delete;

  /// Stored as float32, as TensorBoard has it. Steps of one tag must not decrease. Throws Error when a full buffer cannot be written.
  void add_scalar(std::string_view tag, double value, int64_t step);

  /// Hands all pending records to the system. Throws Error naming the path and the system's reason (disk full).
  void flush();

  const std::filesystem::path& path() const { return path_; }

 private:
  void add_event(std::string_view fields, int64_t step);

  std::filesystem::path path_;
  int descriptor_ = -1;
  int64_t written_ = 0;  ///< bytes of whole records on disk
  std::string pending_;
};

}  // namespace peft
