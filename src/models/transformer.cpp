#include "peft/models/transformer.h"

#include <ATen/ATen.h>

#include "peft/base/error.h"
#include "peft/kernels/grouped_matmul.h"
#include "src/models/block.h"
#include "src/models/selection.h"

namespace peft {
namespace {

/// Rows of a pass at their positions: behind those of the cache, else from `first` on.
Batch placed(const Batch& rows, int64_t first, const KeyValueCache* cache) {
  if (cache != nullptr && !cache->empty()) {
    const auto seen = static_cast<int64_t>(cache->next_positions.size());
    if (rows->sequences() != seen)
      throw_error("{} sequences go on, but the cache has {}: gather() chooses", rows->sequences(), seen);
    return rows->starting_at(cache->next_positions);
  }
  return first == 0 ? rows : rows->starting_at(std::vector<int64_t>(rows->sequences(), first));
}

}  // namespace

struct Transformer::Stage {
  const Pass& pass;
  const Stack& stack;
  const Tokens& tokens;
  bool reads_text = false;  ///< the method's virtual tokens and first position are this stack's
  const Memory* memory = nullptr;
  KeyValueCache* cache = nullptr;
};

/// `selection` null: every row, virtual tokens too.
Hidden Transformer::run_stack(const Stage& stage, const Selection* selection) const {
  const Pass& pass = stage.pass;
  const Stack& stack = stage.stack;
  const bool fresh = stage.cache == nullptr || stage.cache->empty();
  const Tokens tokens{stage.tokens.ids_T, stage.tokens.types_T,
                      placed(stage.tokens.rows, stage.reads_text ? pass.sockets.first_position() : 0, stage.cache)};
  Embedded embedded;
  if (stage.reads_text) embedded = pass.sockets.embed(tokens.ids_T, tokens.rows);
  if (!fresh) embedded.prompt_SPC = at::Tensor();
  const int64_t prompt_rows = embedded.prompt_rows();
  const StackPass p{.pass = pass,
                    .stack = stack,
                    .name = stacks_.size() == 1 ? "" : stack.spec.name + ".",
                    .rows = prompt_rows > 0 ? tokens.rows->lengthened(prompt_rows) : tokens.rows,
                    .memory = stage.memory,
                    .cache = stage.cache};
  stack.front_end->check(*p.rows);
  const Pool pool = pass.sockets.pool(spec_.pool);
  LeavingRows leaving{p.rows, {}};
  if (selection != nullptr && (selection->rows != Selection::Rows::all || prompt_rows > 0)) {
    const std::vector<int64_t> numbers = selected_rows(*selection, pool, spec_.eos_token, tokens, *p.rows, prompt_rows);
    leaving = {p.rows->select(numbers), row_numbers(numbers, *p.rows)};
  }

  at::Tensor x = stack.front_end->rows(tokens, embedded, p.rows, pass.execution);
  if (const Norm& norm = stack.front_end->norm(); norm.weight_C.defined()) x = pass.with_addition(norm, x, p.rows);
  x = dropout(x, pass.site(p.name + "embedding", spec_.dropout.embedding), p.rows, pass.execution);
  for (std::size_t i = 0; i < stack.layers.size(); ++i) {
    if (stage.reads_text) x = pass.sockets.layer_input(stack, static_cast<int64_t>(i), x, p.rows);
    x = block_forward(stack.layers[i], x, p, i + 1 == stack.layers.size() ? leaving : LeavingRows{p.rows, {}});
  }
  if (stack.final_norm.weight_C.defined()) x = normed(stack.final_norm, x, p, leaving.rows);
  if (stage.cache != nullptr) {
    stage.cache->next_positions.clear();
    for (int64_t b = 0; b < p.rows->sequences(); ++b)
      stage.cache->next_positions.push_back(p.rows->start(b) + p.rows->length(b));
  }
  if (selection != nullptr && selection->rows == Selection::Rows::pooled && pool == Pool::mean)
    return {mean_rows(x, *leaving.rows), leaving.rows->one_each()};
  return {x, leaving.rows};
}

Hidden Transformer::hidden(const ModelInput& input, Sockets& sockets, const DropoutContext& context,
                           const Selection& selection, KeyValueCache* cache) const {
  const Pass pass{sockets, context, spec_.dropout, execution_};
  if (cache != nullptr && stacks_.size() == 1 && !decoder_only(spec_))
    throw_error("{}: a key/value cache needs causal attention", spec_.model_type);
  if (stacks_.size() == 1) return run_stack({pass, stacks_.front(), input.source, true, nullptr, cache}, &selection);
  if (!input.target) throw_error("{} needs a target beside its source", spec_.model_type);
  stacks_.back().front_end->check(*placed(input.target->rows, 0, cache));  // before the encoder runs
  Memory memory;
  if (cache == nullptr || cache->empty()) {
    const Hidden source = run_stack({pass, stacks_.front(), input.source, true}, nullptr);
    memory = {source.x_SC, source.rows};
  }
  return run_stack({pass, stacks_.back(), *input.target, false, &memory, cache}, &selection);
}

at::Tensor Transformer::pooled(const ModelInput& input, Sockets& sockets, const DropoutContext& context) const {
  return hidden(input, sockets, context).x_SC;
}

void Transformer::choose_head(HeadKind kind) {
  if (!spec_.heads.contains(kind))
    throw_error<DataError>("{}: model_type {} has no head {}", folder_.string(), spec_.model_type,
                           kind == HeadKind::token  ? "for each token (token classification)"
                           : kind == HeadKind::span ? "for the ends of an answer (question answering)"
                                                    : "for a whole text (classification)");
  spec_.head_kind = kind;
}

at::Tensor Transformer::head_logits(const at::Tensor& x_SC, const Batch& rows, Sockets& sockets,
                                    const DropoutContext& context) const {
  const Pass pass{sockets, context, spec_.dropout, execution_};
  at::Tensor x = x_SC;
  const std::vector<HeadLayer>* own = sockets.head();
  for (const HeadLayer& layer : own != nullptr ? *own : spec_.head()) {
    x = dropout(x, pass.site("head." + layer.module, layer.dropout), rows, execution_);
    if (const TrainedLinear* trained = sockets.trained_module(layer.module)) {
      x = grouped_linear(x.to(trained->weight_KOC.scalar_type()), trained->weight_KOC, trained->bias_KO,
                         rows->group_rows());
    } else if (const Linear* map = head_linear(layer.module)) {
      x = pass.linear(*map, x.to(map->weight_OC.scalar_type()), rows);
    } else {
      throw_error<DataError>("{}: tensor {}.weight is missing and no adapter brings it", folder_.string(),
                             layer.module);
    }
    x = activate(x, layer.activation);
  }
  return x.scalar_type() == at::kDouble ? x : x.to(at::kFloat);
}

at::Tensor Transformer::classify(const ModelInput& input, Sockets& sockets, const DropoutContext& context) const {
  const Hidden pooled = hidden(input, sockets, context);
  return head_logits(pooled.x_SC, pooled.rows->one_each(), sockets, context);
}

at::Tensor Transformer::logits(const at::Tensor& x_SC) const {
  if (!spec_.output)
    throw_error<DataError>("{}: {} gives no logits over a vocabulary", folder_.string(), spec_.model_type);
  const at::Tensor& table = output_.weight_OC.defined() ? output_.weight_OC : word_table();
  const at::Tensor scaled = spec_.output->scale == 1.0 ? x_SC : x_SC * spec_.output->scale;
  const at::Tensor y = at::linear(scaled, table, output_.bias_O);
  return y.scalar_type() == at::kDouble ? y : y.to(at::kFloat);
}

const Linear* Transformer::head_linear(const std::string& module) const {
  const auto it = head_.find(module);
  return it == head_.end() ? nullptr : &it->second;
}

}  // namespace peft
