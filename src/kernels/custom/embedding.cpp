#include "src/kernels/custom/embedding.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/custom_function.h>

#include <numeric>

#include "peft/base/error.h"
#include "src/kernels/cuda/packed_embedding/api.h"
#include "src/kernels/custom/tensors.h"

namespace peft::custom {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kWordField = 0, kTypeField = 2;  // of cuda::EmbeddingRow, as 32-bit numbers

struct EmbeddingWork {
  at::Tensor rows;  ///< int32 [T',4]: cuda::EmbeddingRow, those of tokens with their own number as word and no type
  at::Tensor token_rows;  ///< int64 [T], in the output
  at::Tensor first_row, chunks, first_chunk;
  int32_t chunk_count, sources;
};

EmbeddingWork make_work(const PackedBatch& batch, int64_t prompt_rows, bool per_sequence, int64_t position_offset,
                        at::Device device) {
  std::vector<int64_t> adapter, token_rows, tokens(static_cast<std::size_t>(batch.rows()));
  std::iota(tokens.begin(), tokens.end(), 0);
  for (int64_t b = 0; b < batch.sequences(); ++b) adapter.push_back(batch.adapter(b));
  const cuda::EmbeddingPlan plan = cuda::embedding_plan({.cu = batch.cu(),
                                                         .adapter = adapter,
                                                         .ids = tokens,
                                                         .types = {},
                                                         .adapters = batch.adapters(),
                                                         .prompt_rows = prompt_rows,
                                                         .per_sequence = per_sequence,
                                                         .position_offset = position_offset});
  for (int64_t b = 0; b < batch.sequences(); ++b) {
    for (int64_t t = 0; t < batch.length(b); ++t) token_rows.push_back(plan.first_row[b] + prompt_rows + t);
  }
  return {device_array(plan.rows, device).view(at::kInt).view({-1, sizeof(cuda::EmbeddingRow) / sizeof(int32_t)}),
          device_array(token_rows, device).view(at::kLong),
          device_array(plan.first_row, device),
          device_array(plan.chunks, device),
          device_array(plan.first_chunk, device),
          count(plan.chunks.size()),
          count(static_cast<int64_t>(plan.first_chunk.size()) - 1)};
}

/// One call, from its forward to its backward. Without ids, the tokens bring their rows, as tables.word_VC.
struct EmbeddingCall : torch::CustomClassHolder {
  EmbeddingCall(EmbeddingTables its_tables, std::shared_ptr<const EmbeddingWork> its_work, const at::Tensor& ids_T,
                const at::Tensor& types_T)
      : tables(std::move(its_tables)),
        work(std::move(its_work)),
        rows(work->rows.clone()),
        given_rows(!ids_T.defined()) {
    // On the device: a pass does not wait for ids, and a captured one reads new ones.
    if (!given_rows) rows.select(1, kWordField).index_copy_(0, work->token_rows, ids_T.to(at::kInt));
    if (types_T.defined()) rows.select(1, kTypeField).index_copy_(0, work->token_rows, types_T.to(at::kInt));
  }

  cuda::PackedEmbedding embedding(const at::Tensor& prompt_SPC) const {
    cuda::PackedEmbedding e{.word = tables.word_VC.const_data_ptr(),
                            .position = pointer(tables.position_NC),
                            .type = pointer(tables.type_UC),
                            .prompt = prompt_SPC.defined() ? floats(prompt_SPC) : nullptr,
                            .rows = static_cast<const cuda::EmbeddingRow*>(rows.const_data_ptr()),
                            .row_count = rows.size(0),
                            .columns = count(tables.word_VC.size(1)),
                            .normalise = tables.norm.has_value(),
                            .norm = {},
                            .prompt_dropout = {},
                            .dropout = {}};
    if (const auto& norm = tables.norm)
      e.norm = {norm->kind, static_cast<float>(norm->eps), pointer(norm->weight_C), pointer(norm->bias_C)};
    return e;
  }
  cuda::Element type() const { return element_of(tables.word_VC.scalar_type()); }

  EmbeddingTables tables;
  std::shared_ptr<const EmbeddingWork> work;
  at::Tensor rows;
  bool given_rows;
};

struct Embedding : torch::autograd::Function<Embedding> {
  /// x_TC: what tables.word_VC is, for its gradient.
  static at::Tensor forward(AutogradContext* ctx, const std::optional<at::Tensor>& prompt_SPC,
                            const std::optional<at::Tensor>& /*x_TC*/, const c10::intrusive_ptr<EmbeddingCall>& call) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const at::Tensor prompt = prompt_SPC ? packed(prompt_SPC->to(at::kFloat)) : at::Tensor(),
                     &word = call->tables.word_VC;
    at::Tensor y = at::empty({call->rows.size(0), word.size(1)}, word.options());
    check(cuda::packed_embedding_forward(call->embedding(prompt), y.mutable_data_ptr(), call->type(), stream_of(y)),
          "packed_embedding_forward", y);
    ctx->save_for_backward({prompt});
    ctx->saved_data["call"] = at::IValue::make_capsule(call);
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const at::Tensor prompt = ctx->get_saved_variables()[0], dy = packed(grads[0]);
    const auto held = ctx->saved_data["call"].toCapsule();
    const auto& call = static_cast<const EmbeddingCall&>(*held);
    const EmbeddingWork& work = *call.work;
    at::Tensor dprompt, dx;
    const bool prompted = prompt.defined();  // autograd does not count inputs that are absent
    if (call.given_rows && ctx->needs_input_grad(prompted ? 1 : 0)) {
      dx = at::empty_like(call.tables.word_VC);
      check(cuda::packed_embedding_token_gradient(call.embedding(prompt), dy.const_data_ptr(), dx.mutable_data_ptr(),
                                                  call.type(), stream_of(dy)),
            "packed_embedding_token_gradient", dy);
    }
    if (!prompted || !ctx->needs_input_grad(0)) return {dprompt, dx, at::Tensor()};
    dprompt = float_tensor(dy, prompt.sizes());
    const at::Tensor partial = float_tensor(dy, {work.chunk_count, prompt.size(1), prompt.size(2)});
    const cuda::PromptGradient gradient{.dy = dy.const_data_ptr(),
                                        .first_row = array<int32_t>(work.first_row),
                                        .chunks = array<cuda::PromptChunk>(work.chunks),
                                        .first_chunk = array<int32_t>(work.first_chunk),
                                        .partial = mutable_floats(partial),
                                        .dprompt = mutable_floats(dprompt),
                                        .chunk_count = work.chunk_count,
                                        .sources = work.sources,
                                        .prompt_rows = count(prompt.size(1)),
                                        .accumulate = false};
    check(cuda::packed_embedding_backward(call.embedding(prompt), gradient, call.type(), stream_of(dy)),
          "packed_embedding_backward", dy);
    return {dprompt, dx, at::Tensor()};
  }
};

/// Throws unless x is undefined or [..., C], contiguous and of the word table's type.
void check_table(const at::Tensor& x, const at::Tensor& word_VC, int64_t dims, std::string_view name) {
  if (!x.defined()) return;
  if (x.dim() != dims || x.size(-1) != word_VC.size(-1) || x.scalar_type() != word_VC.scalar_type() ||
      !x.is_contiguous() || !on_16_bytes(x)) {
    throw_error(
        "packed_embedding: {} {} {} beside word {} {}, expected contiguous rows of as many columns and its type", name,
        fmt::join(x.sizes(), "x"), c10::toString(x.scalar_type()), fmt::join(word_VC.sizes(), "x"),
        c10::toString(word_VC.scalar_type()));
  }
}

}  // namespace

at::Tensor packed_embedding(const EmbeddingTables& given, const at::Tensor& ids_T, const at::Tensor& types_T,
                            const at::Tensor& prompt_SPC, const Batch& rows, bool prompt_per_sequence,
                            const at::Tensor& x_TC) {
  EmbeddingTables tables = given;
  if (x_TC.defined()) tables.word_VC = packed(x_TC.detach());
  const at::Tensor& word = tables.word_VC;
  check_table(word, word, 2, "word");
  check_table(tables.position_NC, word, 2, "position");
  check_table(tables.type_UC, word, 2, "type");
  if (tables.norm) {
    check_table(tables.norm->weight_C, word, 1, "the norm's weight");
    check_table(tables.norm->bias_C, word, 1, "the norm's bias");
  }
  if (word.size(1) % 8 != 0 || word.size(1) > kMaxColumns)
    throw_error("packed_embedding: {} columns, expected a multiple of 8 up to {}", word.size(1), kMaxColumns);
  const int64_t sources = prompt_per_sequence ? rows->sequences() : rows->adapters();
  const bool prompted = prompt_SPC.defined();
  const int64_t tokens = x_TC.defined() ? word.size(0) : ids_T.numel();
  if (tokens != rows->rows() || (types_T.defined() && types_T.numel() != rows->rows()) ||
      (prompted && (prompt_SPC.dim() != 3 || prompt_SPC.size(0) != sources || prompt_SPC.size(2) != word.size(1)))) {
    throw_error("packed_embedding: {} tokens, {} types, prompt {} of {} sources for {} rows of {} columns", tokens,
                types_T.defined() ? types_T.numel() : 0,
                fmt::join(prompted ? prompt_SPC.sizes() : at::IntArrayRef(), "x"), sources, rows->rows(), word.size(1));
  }
  const int64_t prompt_rows = prompted ? prompt_SPC.size(1) : 0;
  const int64_t longest = tables.position_offset + rows->longest() + prompt_rows;
  if (tables.position_NC.defined() && longest > tables.position_NC.size(0))
    throw_error("packed_embedding: {} positions, found {}", longest, tables.position_NC.size(0));
  const auto name = fmt::format("packed_embedding {} from {}{}", prompt_rows, tables.position_offset,
                                prompt_per_sequence ? " of sequences" : "");
  auto work = rows->derived<EmbeddingWork>(
      name, [&] { return make_work(*rows, prompt_rows, prompt_per_sequence, tables.position_offset, word.device()); });
  return Embedding::apply(
      prompted ? std::optional(prompt_SPC) : std::nullopt, x_TC.defined() ? std::optional(x_TC) : std::nullopt,
      c10::make_intrusive<EmbeddingCall>(tables, std::move(work), x_TC.defined() ? at::Tensor() : ids_T, types_T));
}

}  // namespace peft::custom
