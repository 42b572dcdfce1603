#pragma once
/// The readers behind open_rows().

#include <optional>

#include "peft/data/rows.h"

namespace peft {

std::unique_ptr<RowReader> open_delimited(const std::filesystem::path& path, const RowFormat& format,
                                          const std::vector<Column>& columns, BadRows& bad);
std::unique_ptr<RowReader> open_json_lines(const std::filesystem::path& path, const RowFormat& format,
                                           const std::vector<Column>& columns, BadRows& bad);
std::unique_ptr<RowReader> open_plain_lines(const std::filesystem::path& path, const RowFormat& format,
                                            const std::vector<Column>& columns, BadRows& bad);
/// Where the elements of a JSON text begin: behind the bracket of an array, or of the list `data` of an object in front of which plain values
/// may stand ({"version": "1.1", "data": [...]}); nothing for other texts.
std::optional<std::size_t> start_of_array(std::string_view text);
/// One JSON array of objects.
std::unique_ptr<RowReader> open_json_array(const std::filesystem::path& path, const RowFormat& format,
                                           const std::vector<Column>& columns, BadRows& bad);
/// CoNLL columns: a row a sentence, cells are lists.
std::unique_ptr<RowReader> open_conll(const std::filesystem::path& path, const RowFormat& format,
                                      const std::vector<Column>& columns, BadRows& bad);
/// Parquet files, or Arrow streams; DataError in a build without the Arrow libraries.
std::unique_ptr<RowReader> open_arrow(const std::filesystem::path& path, const RowFormat& format,
                                      const std::vector<Column>& columns, BadRows& bad);

/// "a, b, c", for messages.
std::string join_names(const std::vector<std::string>& names);

/// The start of a text for a message of one line: at most `bytes` of it, cut between characters, control characters and
/// bytes that are no UTF-8 as \\x0a.
std::string shortened(std::string_view text, std::size_t bytes);

}  // namespace peft
