/// Kernels on rows, grouped_matmul, bank_adamw and packed_embedding beside plain ATen.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <memory>

#include "benchmarks/kernels/harness.h"
#include "peft/kernels/bank_adamw.h"
#include "src/kernels/custom/activation.h"
#include "src/kernels/custom/cross_entropy.h"
#include "src/kernels/custom/dropout.h"
#include "src/kernels/custom/embedding.h"
#include "src/kernels/custom/lora.h"

namespace peft::bench {
namespace {

using Tensors = std::vector<at::Tensor>;
/// From leaves to one output.
using Function = std::function<at::Tensor(const Tensors&)>;

/// Output and gradients of the leaves that want one.
Tensors forward_backward(const Function& f, const Tensors& leaves, const at::Tensor& dy) {
  Tensors wanted, all{f(leaves)};
  for (const at::Tensor& x : leaves) {
    if (x.requires_grad()) wanted.push_back(x);
  }
  const auto edges = torch::autograd::grad({all[0]}, wanted, {dy.to(all[0].scalar_type())});
  all[0] = all[0].detach();
  all.insert(all.end(), edges.begin(), edges.end());
  return all;
}

/// A case of two functions of the same leaves, forward and backward.
Case pair_case(std::string bench, Json shape, double bytes, double predicted,
               const std::function<Tensors()>& make_leaves, at::IntArrayRef out_shape, const Function& custom,
               const Function& stock, const Function& wide) {
  const int sets = sets_beyond_cache(bytes);
  auto leaves = std::make_shared<std::vector<Tensors>>();
  for (int i = 0; i < sets; ++i) leaves->push_back(make_leaves());
  const at::Tensor dy = at::randn(out_shape, on_gpu(at::kBFloat16));
  const auto variant = [leaves, dy](std::string name, const Function& f) {
    return Variant{std::move(name), [leaves, dy, f](int set) { return forward_backward(f, (*leaves)[set], dy); }};
  };
  return {.bench = std::move(bench),
          .shape = std::move(shape),
          .bytes = bytes,
          .predicted_ratio = predicted,
          .sets = sets,
          .expected =
              [leaves, dy, wide] {
                Tensors all;
                for (const at::Tensor& x : leaves->front())
                  all.push_back(x.detach().to(at::kDouble).requires_grad_(x.requires_grad()));
                return forward_backward(wide, all, dy);
              },
          .variants = {variant("custom", custom), variant("aten", stock)}};
}

at::Tensor leaf(at::IntArrayRef shape, at::ScalarType type = at::kBFloat16) {
  return at::randn(shape, on_gpu(type)).requires_grad_(true);
}

/// Residual and norm: x, branch. LayerNorm with biases, RMSNorm without, as models have them.
Case norm_case(int64_t t, int64_t c, cuda::NormKind kind, double predicted) {
  const bool layer_norm = kind == cuda::NormKind::layer_norm;
  const auto values = [c] { return at::randn({c}, on_gpu(at::kBFloat16)); };
  const custom::FrozenNorm norm{
      .kind = kind, .eps = 1e-6, .weight_C = values(), .bias_C = layer_norm ? values() : at::Tensor()};
  const at::Tensor bias = layer_norm ? values() : at::Tensor();
  const Function plain = [=](const Tensors& x) {
    const auto like = [&](const at::Tensor& w) { return w.to(x[0].scalar_type()); };
    if (!layer_norm) return at::rms_norm(x[0] + x[1], {c}, like(norm.weight_C), norm.eps);
    return at::layer_norm(x[0] + (x[1] + like(bias)), {c}, like(norm.weight_C), like(norm.bias_C), norm.eps);
  };
  return pair_case(
      "residual_norm", {{"T", t}, {"C", c}, {"norm", layer_norm ? "layer" : "rms"}, {"dtype", "bfloat16"}},
      2.0 * 7.0 * double(t * c), predicted,
      [=] {
        return Tensors{leaf({t, c}), leaf({t, c})};
      },
      {t, c}, [=](const Tensors& x) { return custom::residual_norm(x[0], x[1], bias, norm).y_TC; }, plain, plain);
}

/// SwiGLU or GEGLU on the halves of one projection.
Case gated_case(int64_t t, int64_t f, cuda::Activation act) {
  const bool silu = act == cuda::Activation::silu;
  const Function plain = [=](const Tensors& x) {
    const at::Tensor gate = x[0].narrow(1, 0, f);
    return (silu ? at::silu(gate) : at::gelu(gate)) * x[0].narrow(1, f, f);
  };
  return pair_case(
      "gated_activation", {{"T", t}, {"F", f}, {"act", silu ? "silu" : "gelu"}, {"dtype", "bfloat16"}},
      2.0 * 8.0 * double(t * f), 1.6,
      [=] {
        return Tensors{leaf({t, 2 * f})};
      },
      {t, f},
      [=](const Tensors& x) { return custom::gated_activation(x[0].narrow(1, 0, f), x[0].narrow(1, f, f), act); },
      plain, plain);
}

/// Bias and GELU behind a product without such an epilogue.
Case bias_case(int64_t t, int64_t f) {
  const at::Tensor bias = at::randn({f}, on_gpu(at::kBFloat16));
  const Function plain = [bias](const Tensors& x) { return at::gelu(x[0] + bias.to(x[0].scalar_type())); };
  return pair_case(
      "bias_activation", {{"T", t}, {"F", f}, {"dtype", "bfloat16"}}, 2.0 * 5.0 * double(t * f), 1.5,
      [=] {
        return Tensors{leaf({t, f})};
      },
      {t, f}, [bias](const Tensors& x) { return custom::bias_activation(x[0], bias, cuda::Activation::gelu); }, plain,
      plain);
}

/// Label words of a vocabulary on the rows of a batch.
Case xent_case(int64_t rows, int64_t classes) {
  const at::Tensor labels = at::randint(classes, {rows}, on_gpu(at::kLong));
  const Function plain = [labels](const Tensors& x) {
    return -at::log_softmax(x[0], 1, x[0].scalar_type() == at::kDouble ? at::kDouble : at::kFloat)
                .gather(1, labels.unsqueeze(1))
                .squeeze(1);
  };
  return pair_case(
      "small_xent", {{"rows", rows}, {"N", classes}, {"dtype", "bfloat16"}}, 4.0 * double(rows * classes), 2.0,
      [=] {
        return Tensors{leaf({rows, classes})};
      },
      {rows}, [labels](const Tensors& x) { return custom::small_xent(x[0], {}, {}, labels, {}); }, plain, plain);
}

/// LoRA of K adapters: custom, beside one batched product.
Case lora_case(int64_t adapters, int64_t rows_each, int64_t c, int64_t r) {
  const int64_t t = adapters * rows_each;
  const Batch rows = batch_on_gpu(adapters, rows_each, adapters);
  const at::Tensor scale = at::full({adapters}, 2.0, on_gpu(at::kFloat));
  const Function plain = [=](const Tensors& x) {
    const at::ScalarType type = x[0].scalar_type();
    const at::Tensor h = at::bmm(x[0].unflatten(0, {adapters, rows_each}), x[1].to(type));
    return (at::bmm(h, x[2].to(type)) * 2.0).flatten(0, 1);
  };
  return pair_case(
      "grouped_matmul", {{"K", adapters}, {"T", t}, {"C", c}, {"R", r}, {"dtype", "bfloat16"}},
      2.0 * 5.0 * double(t * c), 1.2,
      [=] {
        return Tensors{leaf({t, c}), leaf({adapters, c, r}, at::kFloat), leaf({adapters, r, c}, at::kFloat)};
      },
      {t, c}, [=](const Tensors& x) { return custom::lora_addition(x[0], x[1], x[2], scale, rows); }, plain, plain);
}

/// Prompt rows, embeddings and the first norm. given_rows: tokens bring their rows, which have a gradient.
Case embedding_case(int64_t sequences, int64_t length, int64_t prompt, int64_t c, bool given_rows) {
  constexpr int64_t kVocabulary = 30522, kPositions = 512;
  const Batch rows = batch_on_gpu(sequences, length);
  const auto table = [&](at::IntArrayRef shape) { return at::randn(shape, on_gpu(at::kBFloat16)); };
  custom::EmbeddingTables tables{
      .word_VC = table({kVocabulary, c}), .position_NC = table({kPositions, c}), .type_UC = {}, .norm = {}};
  tables.norm = custom::FrozenNorm{.weight_C = table({c}), .bias_C = table({c})};
  const at::Tensor ids = at::randint(kVocabulary, {sequences * length}, on_gpu(at::kLong));
  const Function plain = [=](const Tensors& x) {
    const at::ScalarType type = x[0].scalar_type() == at::kDouble ? at::kDouble : at::kBFloat16;
    const auto like = [&](const at::Tensor& w) { return w.to(type); };
    const at::Tensor words =
        (given_rows ? like(x[1]) : like(tables.word_VC.index_select(0, ids))).unflatten(0, {sequences, length});
    const at::Tensor rows_BNC = at::cat({like(like(x[0]).to(at::kBFloat16)).expand({sequences, prompt, c}), words}, 1) +
                                like(tables.position_NC.narrow(0, 0, prompt + length));
    return at::layer_norm(rows_BNC, {c}, like(tables.norm->weight_C), like(tables.norm->bias_C), tables.norm->eps)
        .flatten(0, 1);
  };
  const int64_t t = sequences * (length + prompt);
  // The rows go in and out; those of tokens and their gradients go in and out of the backward pass.
  const double bytes = 2.0 * 2.0 * double(t * c) + (given_rows ? 3.0 * 2.0 * double(sequences * length * c) : 0.0);
  return pair_case(
      "packed_embedding",
      {{"B", sequences}, {"N", length}, {"P", prompt}, {"C", c}, {"given_rows", given_rows}, {"dtype", "bfloat16"}},
      bytes, given_rows ? 2.0 : 3.0,
      [=] {
        Tensors leaves{leaf({1, prompt, c}, at::kFloat)};
        if (given_rows) leaves.push_back(leaf({sequences * length, c}, at::kBFloat16));
        return leaves;
      },
      {t, c},
      [=](const Tensors& x) {
        return custom::packed_embedding(tables, ids, {}, x[0], rows, false, given_rows ? x[1] : at::Tensor());
      },
      plain, plain);
}

/// Dropout of rows, forward: masks formed in registers beside masks that lie ready. Their arguments are uploaded before, as a captured graph
/// wants it.
Case dropout_case(int64_t sequences, int64_t length, int64_t c) {
  const Batch rows = batch_on_gpu(sequences, length);
  const DropoutContext context{.training = true, .seeds = {1}, .steps = {1}};
  const DropoutSite site{&context, "layer.0.output", {0.1}};
  const int64_t t = rows->rows();
  const double bytes = 2.0 * 2.0 * double(t * c);
  const int sets = sets_beyond_cache(bytes);
  auto x = std::make_shared<Tensors>();
  for (int i = 0; i < sets; ++i) x->push_back(at::randn({t, c}, on_gpu(at::kBFloat16)));
  const at::Tensor mask = dropout(at::ones_like(x->front()), site, rows);
  return {.bench = "row_dropout",
          .shape = {{"T", t}, {"C", c}, {"dtype", "bfloat16"}},
          .bytes = bytes,
          .predicted_ratio = 1.3,
          .sets = sets,
          .expected = [x, mask] { return Tensors{x->front().to(at::kDouble) * mask.to(at::kDouble)}; },
          .variants = {{"custom", [x, masks = custom::named_masks(site, rows, x->front())](
                                      int set) { return Tensors{custom::row_dropout((*x)[set], masks)}; }},
                       {"aten", [x, mask](int set) { return Tensors{(*x)[set] * mask}; }}}};
}

/// One step of J jobs of `tensors` tensors each: custom in two launches, ATen's fused operator once a job.
Case adamw_case(int64_t jobs, int64_t tensors, int64_t numbers) {
  const double bytes = 38.0 * double(jobs * tensors * numbers);
  struct State {
    std::unique_ptr<BankAdamW> bank;
    std::vector<Tensors> p, g, m, v, steps;  // [jobs][tensors]
  };
  auto state = std::make_shared<State>();
  std::vector<BankAdamW::Trained> trained;
  Tensors start;
  for (int64_t i = 0; i < tensors; ++i) {
    start.push_back(at::randn({jobs, numbers}, on_gpu(at::kFloat)));
    trained.push_back(
        {start.back().clone().requires_grad_(true), std::vector<float>(jobs, 1e-3F), std::vector<float>(jobs, 0.01F)});
  }
  const BankAdamW::Hyperparameters job{.lr_scheduler_type = "constant", .max_grad_norm = 0.0};
  state->bank = std::make_unique<BankAdamW>(trained, std::vector<BankAdamW::Hyperparameters>(jobs, job));
  for (int64_t j = 0; j < jobs; ++j) {
    Tensors p, zeros;
    for (const at::Tensor& x : start) p.push_back(x[j].clone());
    const auto like = [&] {
      Tensors all;
      for (const at::Tensor& x : p) all.push_back(at::zeros_like(x));
      return all;
    };
    state->p.push_back(p);
    state->g.push_back(like());
    state->m.push_back(like());
    state->v.push_back(like());
    Tensors steps;
    for (int64_t i = 0; i < tensors; ++i) steps.push_back(at::zeros({}, on_gpu(at::kFloat)));
    state->steps.push_back(steps);
  }
  // Gradients stay zero, as our kernel leaves them: every step does its full work on them.
  return {.bench = "bank_adamw",
          .shape = {{"jobs", jobs}, {"tensors", tensors}, {"numbers", numbers}},
          .bytes = bytes,
          .predicted_ratio = 3.0,
          .expected =
              [start, jobs] {
                Tensors all;
                for (int64_t j = 0; j < jobs; ++j) {
                  for (const at::Tensor& x : start) all.push_back(x[j] * (1.0 - 1e-3 * 0.01));
                }
                return all;
              },
          .tolerance = 1e-5,
          .variants = {{"custom",
                        [state, trained, jobs](int) {
                          state->bank->step();
                          Tensors all;
                          for (int64_t j = 0; j < jobs; ++j) {
                            for (const auto& t : trained) all.push_back(t.value.detach()[j]);
                          }
                          return all;
                        }},
                       {"aten", [state](int) {
                          Tensors all;
                          for (std::size_t j = 0; j < state->p.size(); ++j) {
                            for (at::Tensor& step : state->steps[j]) step.add_(1.0);
                            at::_fused_adamw_(state->p[j], state->g[j], state->m[j], state->v[j], {}, state->steps[j],
                                              1e-3, 0.9, 0.999, 0.01, 1e-8, false, false);
                            all.insert(all.end(), state->p[j].begin(), state->p[j].end());
                          }
                          return all;
                        }}}};
}

}  // namespace

std::vector<MakeCase> row_cases() {
  using enum cuda::NormKind;
  return {[] { return norm_case(4096, 768, layer_norm, 1.5); },
          [] { return norm_case(2048, 384, layer_norm, 1.5); },
          [] { return norm_case(16384, 4096, layer_norm, 1.5); },
          [] { return norm_case(16384, 4096, rms_norm, 1.9); },
          [] { return gated_case(8192, 14336, cuda::Activation::silu); },
          [] { return gated_case(4096, 2048, cuda::Activation::gelu); },
          [] { return bias_case(4096, 3072); },
          [] { return xent_case(32, 2); },
          [] { return xent_case(4096, 1000); },
          [] { return lora_case(1, 4096, 768, 8); },
          [] { return lora_case(8, 1280, 768, 8); },
          [] { return lora_case(16, 512, 768, 16); },
          [] { return embedding_case(32, 128, 20, 768, false); },
          [] { return embedding_case(32, 64, 100, 384, false); },
          [] { return embedding_case(32, 128, 20, 768, true); },
          [] { return dropout_case(32, 128, 768); },
          [] { return adamw_case(1, 50, 7400); },
          [] { return adamw_case(16, 50, 7400); }};
}

}  // namespace peft::bench
