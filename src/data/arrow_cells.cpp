#include "arrow_cells.h"

#include <arrow/array.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <arrow/util/float16.h>

#include <algorithm>
#include <string>

namespace peft {
namespace {

[[noreturn]] void throw_outside() { throw std::out_of_range("values outside of their array"); }

template <class ArrayType>
const ArrayType& as(const arrow::Array& array) {
  return static_cast<const ArrayType&>(array);
}

Cell integer_cell(int64_t value) { return {Cell::Kind::integer, {}, static_cast<double>(value), value}; }
Cell real_cell(double value) { return {Cell::Kind::real, {}, value}; }

// Offsets come from the file and may be any numbers.
template <class ArrayType>
Cell text_cell(const arrow::Array& array, int64_t i) {
  const auto& texts = as<ArrayType>(array);
  const int64_t begin = texts.value_offset(i), end = texts.value_offset(i + 1);
  const int64_t held = texts.value_data() ? texts.value_data()->size() : 0;
  if (begin < 0 || end < begin || end > held) throw_outside();
  return {Cell::Kind::text, texts.GetView(i)};
}

Cell text_view_cell(const arrow::Array& array, int64_t i) {
  const auto& texts = as<arrow::BinaryViewArray>(array);
  const auto& view = texts.raw_values()[i];
  if (view.size() < 0) throw_outside();
  if (!view.is_inline()) {
    const auto& buffers = array.data()->buffers;  // the first two: validity and views
    const int64_t buffer = int64_t{2} + view.ref.buffer_index, begin = view.ref.offset;
    if (view.ref.buffer_index < 0 || buffer >= static_cast<int64_t>(buffers.size()) || begin < 0) throw_outside();
    const auto& held = buffers[static_cast<std::size_t>(buffer)];
    if (!held || begin + view.size() > held->size()) throw_outside();
  }
  return {Cell::Kind::text, texts.GetView(i)};
}

Cell cell_at(const arrow::Array& array, int64_t i);

template <class ArrayType>
Cell list_cell(const arrow::Array& array, int64_t i) {
  const auto& lists = as<ArrayType>(array);
  const int64_t begin = lists.value_offset(i), end = begin + lists.value_length(i);
  if (begin < 0 || end < begin || end > lists.values()->length()) throw_outside();
  Cell cell{.kind = Cell::Kind::array};
  for (int64_t item = begin; item < end; ++item) cell.items.push_back(cell_at(*lists.values(), item));
  return cell;
}

Cell dictionary_cell(const arrow::Array& array, int64_t i) {
  const auto& words = as<arrow::DictionaryArray>(array);
  const int64_t index = words.GetValueIndex(i);
  if (index < 0 || index >= words.dictionary()->length()) throw_outside();
  return cell_at(*words.dictionary(), index);
}

Cell cell_at(const arrow::Array& array, int64_t i) {
  if (array.IsNull(i)) return {.kind = Cell::Kind::null};
  switch (array.type_id()) {
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
      return text_cell<arrow::BinaryArray>(array, i);
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY:
      return text_cell<arrow::LargeBinaryArray>(array, i);
    case arrow::Type::STRING_VIEW:
    case arrow::Type::BINARY_VIEW:
      return text_view_cell(array, i);
    case arrow::Type::DICTIONARY:
      return dictionary_cell(array, i);
    case arrow::Type::INT8:
      return integer_cell(as<arrow::Int8Array>(array).Value(i));
    case arrow::Type::INT16:
      return integer_cell(as<arrow::Int16Array>(array).Value(i));
    case arrow::Type::INT32:
      return integer_cell(as<arrow::Int32Array>(array).Value(i));
    case arrow::Type::INT64:
      return integer_cell(as<arrow::Int64Array>(array).Value(i));
    case arrow::Type::UINT8:
      return integer_cell(as<arrow::UInt8Array>(array).Value(i));
    case arrow::Type::UINT16:
      return integer_cell(as<arrow::UInt16Array>(array).Value(i));
    case arrow::Type::UINT32:
      return integer_cell(as<arrow::UInt32Array>(array).Value(i));
    case arrow::Type::UINT64: {
      const uint64_t value = as<arrow::UInt64Array>(array).Value(i);
      return value > uint64_t{INT64_MAX} ? real_cell(static_cast<double>(value))
                                         : integer_cell(static_cast<int64_t>(value));
    }
    case arrow::Type::HALF_FLOAT:
      return real_cell(arrow::util::Float16::FromBits(as<arrow::HalfFloatArray>(array).Value(i)).ToDouble());
    case arrow::Type::FLOAT:
      return real_cell(as<arrow::FloatArray>(array).Value(i));
    case arrow::Type::DOUBLE:
      return real_cell(as<arrow::DoubleArray>(array).Value(i));
    case arrow::Type::BOOL:
      return {Cell::Kind::boolean, {}, as<arrow::BooleanArray>(array).Value(i) ? 1.0 : 0.0};
    case arrow::Type::LIST:
      return list_cell<arrow::ListArray>(array, i);
    case arrow::Type::LARGE_LIST:
      return list_cell<arrow::LargeListArray>(array, i);
    case arrow::Type::FIXED_SIZE_LIST:
      return list_cell<arrow::FixedSizeListArray>(array, i);
    default:
      return {.kind = Cell::Kind::object};  // a struct, or a type that kind_of() does not know, inside a list
  }
}

}  // namespace

std::optional<ColumnPath> find_column(const arrow::Schema& schema, std::string_view name) {
  const auto whole = schema.GetAllFieldIndices(std::string(name));
  if (whole.size() > 1) throw std::invalid_argument("occurs " + std::to_string(whole.size()) + " times");
  if (whole.size() == 1) return ColumnPath{std::string(name)};
  const std::size_t dot = name.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  ColumnPath path{std::string(name.substr(0, dot))};
  const int first = schema.GetFieldIndex(path.front());
  if (first < 0) return std::nullopt;
  auto type = schema.field(first)->type();
  for (std::string_view rest = name.substr(dot + 1);;) {
    if (type->id() != arrow::Type::STRUCT) return std::nullopt;
    const std::size_t end = std::min(rest.find('.'), rest.size());
    path.emplace_back(rest.substr(0, end));
    const int child = static_cast<const arrow::StructType&>(*type).GetFieldIndex(path.back());
    if (child < 0) return std::nullopt;
    type = type->field(child)->type();
    if (end == rest.size()) return path;
    rest.remove_prefix(end + 1);
  }
}

namespace {

void add_names(const arrow::Field& field, const std::string& outer, std::vector<std::string>& names) {
  if (field.type()->id() == arrow::Type::STRUCT) {
    for (const auto& inner : field.type()->fields()) add_names(*inner, outer + field.name() + ".", names);
  } else {
    names.push_back(outer + field.name());
  }
}

}  // namespace

std::vector<std::string> column_names(const arrow::Schema& schema) {
  std::vector<std::string> names;
  for (const auto& field : schema.fields()) add_names(*field, "", names);
  return names;
}

std::shared_ptr<arrow::DataType> type_at(const arrow::Schema& schema, const ColumnPath& path) {
  auto type = schema.GetFieldByName(path.front())->type();
  for (std::size_t i = 1; i < path.size(); ++i)
    type = static_cast<const arrow::StructType&>(*type).GetFieldByName(path[i])->type();
  return type;
}

std::optional<Cell::Kind> kind_of(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY:
    case arrow::Type::STRING_VIEW:
    case arrow::Type::BINARY_VIEW:
      return Cell::Kind::text;
    case arrow::Type::DICTIONARY:
      return kind_of(*static_cast<const arrow::DictionaryType&>(type).value_type());
    case arrow::Type::INT8:
    case arrow::Type::INT16:
    case arrow::Type::INT32:
    case arrow::Type::INT64:
    case arrow::Type::UINT8:
    case arrow::Type::UINT16:
    case arrow::Type::UINT32:
    case arrow::Type::UINT64:
      return Cell::Kind::integer;
    case arrow::Type::HALF_FLOAT:
    case arrow::Type::FLOAT:
    case arrow::Type::DOUBLE:
      return Cell::Kind::real;
    case arrow::Type::BOOL:
      return Cell::Kind::boolean;
    case arrow::Type::LIST:
    case arrow::Type::LARGE_LIST:
    case arrow::Type::FIXED_SIZE_LIST:
      return Cell::Kind::array;
    case arrow::Type::STRUCT:
      return Cell::Kind::object;
    case arrow::Type::NA:
      return Cell::Kind::null;
    default:
      return std::nullopt;
  }
}

CellColumn::CellColumn(const arrow::RecordBatch& batch, const ColumnPath& path) {
  nested_.push_back(batch.GetColumnByName(path.front()));
  for (std::size_t i = 1; i < path.size(); ++i)
    nested_.push_back(static_cast<const arrow::StructArray&>(*nested_.back()).GetFieldByName(path[i]));
}

Cell CellColumn::operator[](int64_t row) const {
  for (std::size_t i = 0; i + 1 < nested_.size(); ++i)
    if (nested_[i]->IsNull(row)) return {.kind = Cell::Kind::null};
  return cell_at(*nested_.back(), row);
}

}  // namespace peft
