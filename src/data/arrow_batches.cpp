#include "arrow_batches.h"

#include <arrow/io/file.h>
#include <arrow/ipc/reader.h>
#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <arrow/util/compression.h>
#include <fcntl.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/schema.h>
#include <parquet/file_reader.h>
#include <parquet/metadata.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <string_view>

#include "row_readers.h"

namespace peft {
namespace {

constexpr int64_t batch_rows = 1024;
constexpr int64_t column_buffer_bytes = 256 << 10;  // of a column's bytes in a Parquet file
constexpr int64_t max_bytes = int64_t{1} << 30;     // held at a time: a damaged file may ask for any number of them
constexpr std::size_t longest_message = 200;

arrow::MemoryPool* memory() {
  static arrow::CappedMemoryPool pool(arrow::system_memory_pool(), max_bytes);
  return &pool;
}

// A file opened for reading that notices when it changes. It is not mapped: a file cut meanwhile would end the program.
class Source {
 public:
  explicit Source(const std::filesystem::path& path) : name_(path.string()) {
    const int descriptor = ::open(name_.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) throw_error<DataError>("{}: {}", name_, std::strerror(errno));
    file_ = require(name_, arrow::io::ReadableFile::Open(descriptor, memory()));  // closes the descriptor
    if (::fstat(descriptor, &opened_) != 0) throw_error<DataError>("{}: {}", name_, std::strerror(errno));
    if (S_ISDIR(opened_.st_mode)) throw_error<DataError>("{}: a folder, expected a file", name_);
    if (!S_ISREG(opened_.st_mode)) throw_error<DataError>("{}: a pipe or device, expected a file", name_);
  }

  const std::string& name() const { return name_; }
  const std::shared_ptr<arrow::io::ReadableFile>& file() const { return file_; }
  int64_t size() const { return opened_.st_size; }

  /// `count` bytes from `offset` on; fewer at the end of the file.
  std::string bytes(int64_t offset, int64_t count) const {
    std::string text(static_cast<std::size_t>(count), '\0');
    const int64_t got = require(name_, file_->ReadAt(std::max<int64_t>(offset, 0), count, text.data()));
    text.resize(static_cast<std::size_t>(got));
    return text;
  }

  void check_unchanged() const {
    struct stat now {};
    if (::fstat(file_->file_descriptor(), &now) != 0 || now.st_size != opened_.st_size ||
        now.st_mtim.tv_sec != opened_.st_mtim.tv_sec || now.st_mtim.tv_nsec != opened_.st_mtim.tv_nsec)
      throw_error<DataError>("{}: changed while it was being read", name_);
  }

 private:
  std::string name_;
  std::shared_ptr<arrow::io::ReadableFile> file_;
  struct stat opened_ {};
};

class ParquetBatches final : public BatchReader {
 public:
  explicit ParquetBatches(const std::filesystem::path& path) : source_(path) {
    check_marks();
    guarded(source_.name(), [&] { open(); });
  }

  const arrow::Schema& schema() const override { return *schema_; }

  void select(const std::vector<ColumnPath>& columns) override {
    guarded(source_.name(), [&] {
      std::vector<int> leaves;
      for (const ColumnPath& path : columns) {
        const std::size_t known = leaves.size();
        collect_leaves(find(path), leaves);
        for (std::size_t i = known; i < leaves.size(); ++i) check_codec(path, leaves[i]);
      }
      std::sort(leaves.begin(), leaves.end());
      leaves.erase(std::unique(leaves.begin(), leaves.end()), leaves.end());
      std::vector<int> groups(static_cast<std::size_t>(reader_->num_row_groups()));
      std::iota(groups.begin(), groups.end(), 0);
      batches_ = require(source_.name(), reader_->GetRecordBatchReader(groups, leaves));
    });
  }

  std::shared_ptr<arrow::RecordBatch> next() override {
    return guarded(source_.name(), [&] {
      auto batch = require(source_.name(), batches_->Next());
      if (batch) {
        require(source_.name(), batch->Validate());
        rows_ += batch->num_rows();
      } else {
        const int64_t expected = reader_->parquet_reader()->metadata()->num_rows();
        if (rows_ != expected)
          throw_error<DataError>("{}: damaged: {} rows, expected {}", source_.name(), rows_, expected);
        source_.check_unchanged();
      }
      return batch;
    });
  }

 private:
  using SchemaField = parquet::arrow::SchemaField;

  void check_marks() const {
    constexpr std::string_view mark = "PAR1";
    constexpr int64_t mark_bytes = mark.size();
    const std::string start = source_.bytes(0, mark_bytes),
                      end = source_.bytes(source_.size() - mark_bytes, mark_bytes);
    if (start != mark)
      throw_error<DataError>("{}: no Parquet file: begins with \"{}\", expected \"{}\"", source_.name(),
                             shortened(start, longest_message), mark);
    if (end != mark || source_.size() < 3 * mark_bytes)
      throw_error<DataError>("{}: cut off: a Parquet file ends with \"{}\"", source_.name(), mark);
  }

  void open() {
    parquet::ReaderProperties properties(memory());
    properties.enable_buffered_stream();  // page by page, however large a row group is
    properties.set_buffer_size(column_buffer_bytes);
    properties.set_page_checksum_verification(true);
    parquet::ArrowReaderProperties conversion(/*use_threads=*/false);
    conversion.set_batch_size(batch_rows);
    conversion.set_pre_buffer(false);
    parquet::arrow::FileReaderBuilder builder;
    require(source_.name(), builder.Open(source_.file(), properties));
    reader_ = require(source_.name(), builder.memory_pool(memory())->properties(conversion)->Build());
    require(source_.name(), reader_->GetSchema(&schema_));
  }

  const SchemaField& find(const ColumnPath& path) const {
    const auto* fields = &reader_->manifest().schema_fields;
    const SchemaField* found = nullptr;
    for (const std::string& name : path) {
      const auto at =
          std::find_if(fields->begin(), fields->end(), [&](const auto& f) { return f.field->name() == name; });
      if (at == fields->end()) throw_error<DataError>("{}: damaged: no column {}", source_.name(), name);
      found = &*at;
      fields = &found->children;
    }
    if (found == nullptr) throw Error("a column without a name");
    return *found;
  }

  static void collect_leaves(const SchemaField& field, std::vector<int>& leaves) {
    if (field.is_leaf()) leaves.push_back(field.column_index);
    for (const SchemaField& child : field.children) collect_leaves(child, leaves);
  }

  void check_codec(const ColumnPath& path, int leaf) const {
    const auto metadata = reader_->parquet_reader()->metadata();
    for (int group = 0; group < metadata->num_row_groups(); ++group) {
      const auto codec = metadata->RowGroup(group)->ColumnChunk(leaf)->compression();
      if (codec != arrow::Compression::UNCOMPRESSED && !arrow::util::Codec::IsAvailable(codec))
        throw_error<DataError>(
            "{}: column {}: compressed by {}, expected uncompressed, snappy, gzip, brotli, zstd or lz4_raw",
            source_.name(), path.front(), arrow::util::Codec::GetCodecAsString(codec));
    }
  }

  Source source_;
  std::unique_ptr<parquet::arrow::FileReader> reader_;
  std::shared_ptr<arrow::Schema> schema_;
  std::unique_ptr<arrow::RecordBatchReader> batches_;
  int64_t rows_ = 0;
};

class StreamBatches final : public BatchReader {
 public:
  explicit StreamBatches(const std::filesystem::path& path) : source_(path) {
    check_marks();
    guarded(source_.name(), [&] { open({}); });
  }

  const arrow::Schema& schema() const override { return *stream_->schema(); }

  void select(const std::vector<ColumnPath>& columns) override {
    std::vector<int> fields;
    for (const ColumnPath& path : columns) fields.push_back(schema().GetFieldIndex(path.front()));
    std::sort(fields.begin(), fields.end());
    fields.erase(std::unique(fields.begin(), fields.end()), fields.end());
    guarded(source_.name(), [&] { open(fields); });
  }

  std::shared_ptr<arrow::RecordBatch> next() override {
    return guarded(source_.name(), [&] {
      auto batch = require(source_.name(), stream_->Next());
      if (batch) {
        require(source_.name(), batch->Validate());
      } else {
        const int64_t read = require(source_.name(), source_.file()->Tell());
        if (read != source_.size())
          throw_error<DataError>("{}: damaged: the rows end at byte {} of {}", source_.name(), read, source_.size());
        source_.check_unchanged();
      }
      return batch;
    });
  }

 private:
  void check_marks() const {
    constexpr std::string_view file_mark = "ARROW1", continuation = "\xFF\xFF\xFF\xFF";
    constexpr std::string_view end_mark("\xFF\xFF\xFF\xFF\0\0\0\0", 8);
    constexpr int64_t end_bytes = end_mark.size();
    const std::string start = source_.bytes(0, file_mark.size());
    if (start == file_mark)
      throw_error<DataError>("{}: Arrow's file format (Feather), expected its stream format, as save_to_disk writes it",
                             source_.name());
    if (!start.starts_with(continuation)) throw_error<DataError>("{}: no stream of Arrow", source_.name());
    if (source_.bytes(source_.size() - end_bytes, end_bytes) != end_mark)
      throw_error<DataError>("{}: cut off: no mark of the end of an Arrow stream", source_.name());
  }

  void open(const std::vector<int>& fields) {
    auto options = arrow::ipc::IpcReadOptions::Defaults();
    options.memory_pool = memory();
    options.included_fields = fields;
    options.use_threads = false;
    options.ensure_alignment = arrow::ipc::Alignment::kDataTypeSpecificAlignment;
    require(source_.name(), source_.file()->Seek(0));
    stream_ = require(source_.name(), arrow::ipc::RecordBatchStreamReader::Open(source_.file(), options));
  }

  Source source_;
  std::shared_ptr<arrow::ipc::RecordBatchStreamReader> stream_;
};

[[noreturn]] void throw_unreadable(const std::string& file, std::string_view why) {
  while (why.ends_with('\n')) why.remove_suffix(1);
  throw_error<DataError>("{}: cannot be read: {}", file, shortened(why, longest_message));
}

}  // namespace

void throw_arrow_error(const std::string& file, const arrow::Status& status) {
  if (status.IsOutOfMemory())
    throw_error<DataError>("{}: needs more than {} MiB at a time; damaged, or its row groups are too large", file,
                           max_bytes >> 20);
  throw_unreadable(file, status.message());
}

void throw_arrow_error(const std::string& file, const std::exception& error) { throw_unreadable(file, error.what()); }

std::unique_ptr<BatchReader> open_parquet_batches(const std::filesystem::path& path) {
  return std::make_unique<ParquetBatches>(path);
}

std::unique_ptr<BatchReader> open_stream_batches(const std::filesystem::path& path) {
  return std::make_unique<StreamBatches>(path);
}

}  // namespace peft
