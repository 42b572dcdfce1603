#pragma once
/// packed_embedding in double precision, and random cases of it.

#include "src/kernels/cuda/packed_embedding/backward.cuh"
#include "src/kernels/cuda/packed_embedding/forward.cuh"
#include "src/kernels/cuda/packed_embedding/launch.cuh"
#include "tests/kernels/cuda/residual_norm_case.h"

namespace peft::cuda::row_tests {

struct EmbeddingOptions {
  bool position = true, type = true, normalise = true, dropout = false, prompt_dropout = false;
  bool per_sequence = false, accumulate = false;
  bool given_rows = false;  ///< tokens bring their rows: the word table is x
  NormKind kind = NormKind::layer_norm;
};

/// Sequences of `lengths` tokens; sequence b belongs to adapters[b].
template <class T>
struct EmbeddingCase {
  static constexpr int64_t kVocabulary = 50, kPositions = 64, kTypes = 2, kPositionOffset = 3;

  int32_t columns;
  int64_t sources;
  EmbeddingOptions options;
  std::mt19937_64 random;
  EmbeddingBatch batch;
  EmbeddingPlan plan;
  Guarded<T> word, position, type, gamma, beta;
  Guarded<float> prompt;
  Masks masks, prompt_masks;  // of one step: the same rows, other streams
  Guarded<T> y, dy;
  Guarded<float> partial, dprompt;
  Guarded<T> dx;

  EmbeddingCase(const std::vector<int64_t>& lengths, const std::vector<int64_t>& adapters, int64_t bank,
                int64_t prompt_rows, int32_t column_count, EmbeddingOptions how, uint64_t seed)
      : columns(column_count),
        sources(how.per_sequence ? static_cast<int64_t>(lengths.size()) : bank),
        options(how),
        random(seed),
        batch(random_batch(lengths, adapters, bank, prompt_rows, how.per_sequence)),
        plan(embedding_plan(batch)),
        word(table(how.given_rows ? batch.cu.back() : kVocabulary)),
        position(table(kPositions)),
        type(table(kTypes)),
        gamma(random_elements<T>(width(), random, 0.3, 1.0)),
        beta(random_elements<T>(width(), random, 0.5)),
        prompt(random_elements<float>(static_cast<std::size_t>(sources * prompt_rows) * width(), random)),
        masks(static_cast<int64_t>(plan.rows.size()), random, 0.2),
        prompt_masks(masks),
        y(plan.rows.size() * width()),
        dy(random_elements<T>(plan.rows.size() * width(), random)),
        partial(plan.chunks.size() * static_cast<std::size_t>(prompt_rows) * width()),
        dprompt(prompt.size(), how.accumulate ? 0.5 : std::numeric_limits<double>::quiet_NaN()),
        dx(how.given_rows ? word.size() : 0, std::numeric_limits<double>::quiet_NaN()) {
    std::vector<int64_t> ordinals;
    for (std::size_t b = 0; b < lengths.size(); ++b) ordinals.push_back(static_cast<int64_t>(b) + 5);
    masks.rows = prompt_masks.rows = mask_rows(plan.cu, batch.adapter, ordinals);
    for (std::size_t k = 0; k < prompt_masks.streams.size(); ++k) {
      prompt_masks.names[k] = peft::hash64("prompt.dropout", k);
      prompt_masks.streams[k] = mask_stream(prompt_masks.names[k], prompt_masks.probabilities[k]);
    }
  }

  PackedEmbedding arguments() const {
    return {.word = word.data(),
            .position = options.position ? position.data() : nullptr,
            .type = options.type ? type.data() : nullptr,
            .prompt = prompt.data(),
            .rows = plan.rows.data(),
            .row_count = static_cast<int64_t>(plan.rows.size()),
            .columns = columns,
            .normalise = options.normalise,
            .norm = {options.kind, 1e-5F, gamma.data(), beta.data()},
            .prompt_dropout = options.prompt_dropout ? prompt_masks.arguments() : NamedDropout{},
            .dropout = options.dropout ? masks.arguments() : NamedDropout{}};
  }
  PromptGradient gradient_arguments() {
    return {.dy = dy.data(),
            .first_row = plan.first_row.data(),
            .chunks = plan.chunks.data(),
            .first_chunk = plan.first_chunk.data(),
            .partial = partial.data(),
            .dprompt = dprompt.data(),
            .chunk_count = static_cast<int32_t>(plan.chunks.size()),
            .sources = static_cast<int32_t>(sources),
            .prompt_rows = static_cast<int32_t>(batch.prompt_rows),
            .accumulate = options.accumulate};
  }
  void forward() { ASSERT_EQ(launch_packed_embedding_forward(arguments(), y.data(), ElementOf<T>::value, nullptr), 0); }
  void backward() {
    ASSERT_EQ(launch_packed_embedding_backward(arguments(), gradient_arguments(), ElementOf<T>::value, nullptr), 0);
    if (!options.given_rows) return;
    ASSERT_EQ(launch_packed_embedding_token_gradient(arguments(), dy.data(), dx.data(), ElementOf<T>::value, nullptr),
              0);
  }

  /// From the batch alone, not from the plan.
  struct Expected {
    Doubles y, dprompt, dx;
  };
  Expected expected() const {
    Expected result;
    result.dprompt.assign(prompt.size(), options.accumulate ? 0.5 : 0.0);
    const Doubles gammas = gamma.doubles(), betas = beta.doubles();
    int64_t row = 0;
    for (std::size_t b = 0; b < batch.adapter.size(); ++b) {
      const int64_t prompts = batch.adapter[b] < 0 ? 0 : batch.prompt_rows,
                    source = options.per_sequence ? static_cast<int64_t>(b) : batch.adapter[b];
      for (int64_t place = 0; place < prompts + batch.cu[b + 1] - batch.cu[b]; ++place, ++row) {
        const bool is_prompt = place < prompts;
        const int64_t token = batch.cu[b] + place - prompts, prompt_row = source * batch.prompt_rows + place;
        Doubles e(width()), keep(width(), 1.0), prompt_keep(width(), 1.0);
        for (int64_t c = 0; c < columns; ++c) {
          const auto i = static_cast<std::size_t>(c);
          if (options.dropout) keep[i] = masks.multiplier(row, c);
          if (is_prompt) {
            if (options.prompt_dropout) prompt_keep[i] = prompt_masks.multiplier(row, c);
            const float value = prompt[static_cast<std::size_t>(prompt_row) * width() + i];
            e[i] = static_cast<double>(to_float(element<T>(prompt_keep[i] * static_cast<double>(value))));
          } else {
            e[i] = at(word, batch.ids[token], c);
          }
          if (options.type) e[i] += at(type, is_prompt || batch.types.empty() ? 0 : batch.types[token], c);
          if (options.position) e[i] += at(position, kPositionOffset + place, c);
        }
        const DoubleNorm norm = double_norm(e.data(), width(), options.kind, 1e-5F, gammas, betas);
        Doubles g(width());
        for (std::size_t i = 0; i < width(); ++i) {
          result.y.push_back(keep[i] * (options.normalise ? norm.y[i] : e[i]));
          g[i] = keep[i] * static_cast<double>(to_float(dy[static_cast<std::size_t>(row) * width() + i]));
        }
        if (options.normalise) g = double_norm_gradient(norm, g.data(), options.kind, gammas);
        if (!is_prompt) {
          result.dx.insert(result.dx.end(), g.begin(), g.end());
          continue;
        }
        for (std::size_t i = 0; i < width(); ++i)
          result.dprompt[static_cast<std::size_t>(prompt_row) * width() + i] += prompt_keep[i] * g[i];
      }
    }
    return result;
  }
  std::size_t width() const { return static_cast<std::size_t>(columns); }
  double at(const Guarded<T>& values, int64_t row, int64_t column) const {
    return static_cast<double>(to_float(values[static_cast<std::size_t>(row * columns + column)]));
  }

 private:
  Guarded<T> table(int64_t rows) { return random_elements<T>(static_cast<std::size_t>(rows) * width(), random); }
  EmbeddingBatch random_batch(const std::vector<int64_t>& lengths, const std::vector<int64_t>& adapters, int64_t bank,
                              int64_t prompt_rows, bool per_sequence) {
    EmbeddingBatch b;
    b.cu.push_back(0);
    for (const int64_t length : lengths) b.cu.push_back(b.cu.back() + length);
    b.adapter = adapters;
    for (int64_t t = 0; t < b.cu.back(); ++t) {
      b.ids.push_back(options.given_rows ? t : static_cast<int64_t>(random() % kVocabulary));
      b.types.push_back(static_cast<int64_t>(random() % kTypes));
    }
    b.adapters = bank;
    b.prompt_rows = prompt_rows;
    b.per_sequence = per_sequence;
    b.position_offset = kPositionOffset;
    return b;
  }
};

}  // namespace peft::cuda::row_tests
