#include "src/models/selection.h"

#include <ATen/ATen.h>

#include "peft/base/error.h"

namespace peft {
namespace {

/// Row of the last end-of-sequence token of sequence b.
int64_t last_eos(const at::Tensor& ids_T, int64_t eos_token, const PackedBatch& rows, int64_t b) {
  const int64_t* ids = ids_T.const_data_ptr<int64_t>();
  for (int64_t i = rows.length(b) - 1; i >= 0; --i) {
    if (ids[rows.begin(b) + i] == eos_token) return i;
  }
  throw_error<DataError>("a text without the end-of-sequence token {}, whose row the classifier reads", eos_token);
}

}  // namespace

std::vector<int64_t> selected_rows(const Selection& selection, Pool pool, int64_t eos_token, const Tokens& tokens,
                                   const PackedBatch& longer, int64_t prompt_rows) {
  std::vector<int64_t> numbers;
  const PackedBatch& text = *tokens.rows;
  if (selection.rows == Selection::Rows::chosen) {
    int64_t b = 0;
    for (const int64_t token : selection.chosen) {
      if (token < 0 || token >= text.rows())
        throw_error("selected token {} is out of range: the text has {}", token, text.rows());
      while (token >= text.begin(b) + text.length(b)) ++b;
      numbers.push_back(token + prompt_rows * (b + 1));
    }
    return numbers;
  }
  const bool pooled = selection.rows == Selection::Rows::pooled;
  const at::Tensor ids = pooled && pool == Pool::last_eos ? tokens.ids_T.cpu() : at::Tensor();
  for (int64_t b = 0; b < text.sequences(); ++b) {
    const int64_t begin = longer.begin(b) + prompt_rows, end = longer.begin(b) + longer.length(b);
    const int64_t first = pooled && pool == Pool::first ? longer.begin(b) : begin;  // row that may be read
    if (selection.rows != Selection::Rows::all && first == end)
      throw_error("sequence {} has no tokens, so no row that could be read", b);
    if (selection.rows == Selection::Rows::all || (pooled && pool == Pool::mean)) {
      for (int64_t t = begin; t < end; ++t) numbers.push_back(t);
      continue;
    }
    int64_t row = end - 1;
    if (pooled && (pool == Pool::first || pool == Pool::first_of_text)) row = first;
    if (pooled && pool == Pool::last_eos) row = begin + last_eos(ids, eos_token, text, b);
    numbers.push_back(row);
  }
  return numbers;
}

at::Tensor mean_rows(const at::Tensor& x_TC, const PackedBatch& rows) {
  std::vector<at::Tensor> means;
  for (int64_t b = 0; b < rows.sequences(); ++b) means.push_back(x_TC.narrow(0, rows.begin(b), rows.length(b)).mean(0));
  return means.empty() ? x_TC : at::stack(means);
}

}  // namespace peft
