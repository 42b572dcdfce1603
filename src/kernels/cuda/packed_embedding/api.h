#pragma once
/// Embeddings of packed rows with prompt rows in front of every sequence and the first norm, in one launch; the prompts' gradient in two,
/// that of the tokens' own rows in one. No torch, no CUDA header.
///
///   e = word[id], or x[t] of its own, or prompt_dropout(prompt[s, p])     y = dropout(norm(e + type[.] + position[.]))
/// Sequence b of n tokens with prompts becomes P + n rows: prompt rows p = 0..P-1 of source s, then its tokens. Rows count positions from
/// the sequence's start, prompt rows have token type 0. A source is an adapter, or each sequence has its own. Gradients go to prompts and to
/// tokens that bring their own rows x [T,C], which then take the place of the word table with the token's number as the id:
///   dprompt[s, p] = sum over the sequences of s of the gradient of their row p            (through dropout, norm and prompt_dropout)
///   dx[t] = the gradient of its row
/// summed in float32 over chunks of kPromptChunk sequences and then over the chunks of a source, in that order: no atomics, and an
/// adapter's sums do not depend on the others in the batch. Backward reads nothing that forward wrote.
///
/// T tokens, B sequences, S sources, T' output rows of C columns; C a multiple of 8 up to 8192; pointers 16-byte aligned. Tables have the
/// element type; prompts and their gradient are float32, a prompt row is rounded to the element type before it is added. Without norm,
/// position and type a row is bitwise that of its table.

#include <cstdint>
#include <vector>

#include "src/kernels/cuda/common/dropout.h"
#include "src/kernels/cuda/common/element.h"
#include "src/kernels/cuda/common/norm.h"

namespace peft::cuda {

/// One output row.
struct alignas(16) EmbeddingRow {
  int32_t word;  ///< row of the word table; or -1 - (s P + p), a prompt row
  int32_t position, type;
  int32_t unused;
};

/// Sequences [first, first + count) of one source; the work of one group of threads a prompt row.
struct PromptChunk {
  int32_t source, first, count;
};
constexpr int32_t kPromptChunk = 4;

struct EmbeddingBatch {
  std::vector<int64_t> cu;       ///< [B+1]
  std::vector<int64_t> adapter;  ///< [B], ascending; -1: no prompt rows
  std::vector<int64_t> ids;      ///< [T]
  std::vector<int64_t> types;    ///< [T], or empty: all 0
  int64_t adapters = 1;          ///< K
  int64_t prompt_rows = 0;       ///< P
  bool per_sequence = false;     ///< sources are sequences (S = B), not adapters (S = K)
  int64_t position_offset = 0;   ///< row of the position table of a sequence's first row
};

/// What changes from batch to batch, for arrays of fixed size on the device.
struct EmbeddingPlan {
  std::vector<int64_t> cu;           ///< [B+1] output rows of the sequences
  std::vector<EmbeddingRow> rows;    ///< [T']
  std::vector<int32_t> first_row;    ///< [B]
  std::vector<PromptChunk> chunks;   ///< prompt_chunk_bound(B, S); behind the last one count 0
  std::vector<int32_t> first_chunk;  ///< [S+1]
};
EmbeddingPlan embedding_plan(const EmbeddingBatch& batch);

/// Chunks of any batch of this size: the grid of a captured graph.
int64_t prompt_chunk_bound(int64_t sequences, int64_t sources);

/// All pointers are device pointers.
struct PackedEmbedding {
  const void* word = nullptr;          ///< [V,C], or x [T,C]
  const void* position = nullptr;      ///< [positions,C] or null
  const void* type = nullptr;          ///< [types,C] or null
  const float* prompt = nullptr;       ///< [S,P,C]
  const EmbeddingRow* rows = nullptr;  ///< [T']
  int64_t row_count = 0;               ///< T'
  int32_t columns = 0;                 ///< C
  bool normalise = true;
  FrozenNorm norm = {};
  NamedDropout prompt_dropout = {},
               dropout = {};  ///< of the output rows: a prompt row is named by its place in its sequence
};

struct PromptGradient {
  const void* dy = nullptr;  ///< [T',C]
  const int32_t* first_row = nullptr;
  const PromptChunk* chunks = nullptr;
  const int32_t* first_chunk = nullptr;
  float* partial = nullptr;  ///< [chunk_count,P,C], scratch
  float* dprompt = nullptr;  ///< [S,P,C]
  int32_t chunk_count = 0, sources = 0, prompt_rows = 0;
  bool accumulate = true;  ///< add to dprompt (the flat gradient of bank_adamw), else overwrite it
};

/// 0, or CUDA's error number. y: [T',C].
int packed_embedding_forward(const PackedEmbedding& embedding, void* y, Element type, void* stream);
int packed_embedding_backward(const PackedEmbedding& embedding, const PromptGradient& gradient, Element type,
                              void* stream);
/// dx [T,C] of x, in the element type; every token of it is one row's. dy [T',C].
int packed_embedding_token_gradient(const PackedEmbedding& embedding, const void* dy, void* dx, Element type,
                                    void* stream);

}  // namespace peft::cuda
