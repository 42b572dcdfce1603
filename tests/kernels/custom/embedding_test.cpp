/// The packed_embedding kernel behind its binding, against ATen's operators in float64 on the same rounded numbers.

#include "src/kernels/custom/embedding.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <random>

#include "peft/base/error.h"
#include "peft/kernels/grouped_matmul.h"
#include "tests/kernels/custom/device.h"
#include "tests/support/tensors.h"

namespace peft {
namespace {

constexpr int64_t kWords = 40, kPositions = 64, kTypes = 2, kOffset = 2;
constexpr double kEps = 1e-5;

struct EmbeddingCase {
  std::vector<int64_t> lengths, adapter;
  int64_t adapters = 1, columns = 8, prompt = 1;
  bool position = true, type = true, per_sequence = false, bias = true;
  bool given_rows = false;  ///< tokens bring their rows
  std::optional<cuda::NormKind> norm = cuda::NormKind::layer_norm;

  std::string name() const {
    return std::to_string(lengths.size()) + " sequences, K " + std::to_string(adapters) + ", C " +
           std::to_string(columns) + ", P " + std::to_string(prompt) + (position ? ", position" : "") +
           (type ? ", type" : "") + (per_sequence ? ", per sequence" : "") + (bias ? ", bias" : "") +
           (given_rows ? ", given rows" : "") + ", norm " + (norm ? std::to_string(static_cast<int>(*norm)) : "none");
  }

  /// Adapters without a sequence or with one, sequences of one row, of none, and more than a chunk.
  static EmbeddingCase random(uint64_t seed) {
    std::mt19937_64 numbers(seed);
    const auto up_to = [&](uint64_t most) { return static_cast<int64_t>(1 + numbers() % most); };
    EmbeddingCase c{.lengths = {},
                    .adapter = {},
                    .adapters = up_to(4),
                    .columns = 8 * up_to(40),
                    .prompt = up_to(5),
                    .position = seed % 3 != 0,
                    .type = seed % 4 != 0,
                    .per_sequence = seed % 3 == 1,
                    .bias = seed % 5 != 0,
                    .given_rows = seed % 2 == 0};
    if (seed % 4 == 1) c.norm = cuda::NormKind::rms_norm;
    if (seed % 4 == 2) c.norm.reset();
    for (int64_t k = 0; k < c.adapters; ++k) {
      for (int64_t b = k == 1 ? 0 : up_to(9); b > 0; --b) {
        c.lengths.push_back(up_to(8) - 1);
        c.adapter.push_back(k);
      }
    }
    c.lengths.back() = 1;
    return c;
  }
};

/// The kernel's arguments on its device, and the formula on the same numbers in float64 on the CPU.
struct EmbeddingInputs {
  EmbeddingInputs(const EmbeddingCase& its_case, at::ScalarType type)
      : c(its_case),
        rows(make_batch(c.lengths, c.adapter, c.adapters, kernel_device())),
        host_rows(make_batch(c.lengths, c.adapter, c.adapters)),
        longer(host_rows->lengthened(c.prompt)) {
    const auto table = [&](uint64_t seed, at::IntArrayRef shape) {
      return random_tensor(seed, shape).to(kernel_device(), type);
    };
    tables.word_VC = table(1, {kWords, c.columns});
    if (c.position) tables.position_NC = table(2, {kPositions, c.columns});
    if (c.type) tables.type_UC = table(3, {kTypes, c.columns});
    tables.position_offset = kOffset;
    if (c.norm) {
      tables.norm = {.kind = *c.norm, .eps = kEps, .weight_C = table(4, {c.columns}), .bias_C = {}};
      if (c.bias) tables.norm->bias_C = table(5, {c.columns});
    }
    const int64_t sources = c.per_sequence ? rows->sequences() : c.adapters;
    prompt = table(6, {sources, c.prompt, c.columns}).to(at::kFloat).requires_grad_(true);
    dy = table(7, {longer->rows(), c.columns});
    const auto numbers = [&](uint64_t seed, int64_t most) {
      return (random_tensor(seed, {rows->rows()}).abs() * 1000.0).to(at::kLong).remainder(most).to(kernel_device());
    };
    ids = numbers(8, kWords);
    types = numbers(9, kTypes);
    if (c.given_rows) x = table(10, {rows->rows(), c.columns}).requires_grad_(true);
  }

  /// y and the gradients of the prompt and x.
  std::vector<at::Tensor> found() const {
    const at::Tensor y =
        custom::packed_embedding(tables, ids, c.type ? types : at::Tensor(), prompt, rows, c.per_sequence, x);
    return with_gradients(y, prompt, x, dy);
  }
  std::vector<at::Tensor> expected() const {
    const auto wide = [](const at::Tensor& of) {
      return of.defined() ? of.detach().cpu().to(at::kDouble) : at::Tensor();
    };
    const at::Tensor leaf = wide(prompt).requires_grad_(true),
                     tokens = c.given_rows ? wide(x).requires_grad_(true) : at::Tensor();
    at::Tensor y = prepend_rows(leaf, c.given_rows ? tokens : wide(tables.word_VC).index_select(0, ids.cpu()),
                                host_rows, longer, c.per_sequence);
    if (c.type) {
      const at::Tensor zeros = at::zeros({leaf.size(0), c.prompt, 1}, at::kDouble);
      const at::Tensor longer_types =
          prepend_rows(zeros, types.cpu().to(at::kDouble).unsqueeze(1), host_rows, longer, c.per_sequence);
      y = y + wide(tables.type_UC).index_select(0, longer_types.squeeze(1).to(at::kLong));
    }
    if (c.position) y = y + wide(tables.position_NC).index_select(0, longer->position_T() + kOffset);
    if (c.norm == cuda::NormKind::layer_norm)
      y = at::layer_norm(y, {c.columns}, wide(tables.norm->weight_C), wide(tables.norm->bias_C), kEps);
    if (c.norm == cuda::NormKind::rms_norm) {
      y = y * at::rsqrt(y.square().mean(-1, true) + kEps) * wide(tables.norm->weight_C);
      if (c.bias) y = y + wide(tables.norm->bias_C);
    }
    return with_gradients(y, leaf, tokens, wide(dy));
  }
  static std::vector<at::Tensor> with_gradients(const at::Tensor& y, const at::Tensor& prompt, const at::Tensor& x,
                                                const at::Tensor& dy) {
    const std::vector<at::Tensor> leaves = x.defined() ? std::vector{prompt, x} : std::vector{prompt};
    std::vector<at::Tensor> all{y};
    for (const at::Tensor& g : torch::autograd::grad({y}, leaves, {dy})) all.push_back(g);
    return all;
  }

  EmbeddingCase c;
  Batch rows, host_rows, longer;
  custom::EmbeddingTables tables;
  at::Tensor ids, types, prompt, x, dy;
};

double tolerance(at::ScalarType type) { return type == at::kFloat ? 1e-6 : 4e-3; }

void expect_close(const EmbeddingCase& c, at::ScalarType type) {
  SCOPED_TRACE(c.name() + ", " + c10::toString(type));
  const EmbeddingInputs in(c, type);
  const auto found = in.found(), expected = in.expected();
  EXPECT_EQ(found[0].scalar_type(), type);
  EXPECT_EQ(found[1].scalar_type(), at::kFloat);
  EXPECT_LE(relative_error(found[0].cpu(), expected[0]), tolerance(type));
  EXPECT_LE(relative_error(found[1].cpu(), expected[1]), 2e-6);  // float32 sums of numbers that are exact
  if (!c.given_rows) return;
  EXPECT_EQ(found[2].scalar_type(), type);
  EXPECT_LE(relative_error(found[2].cpu(), expected[2]), tolerance(type));
}

class CustomEmbedding : public testing::TestWithParam<at::ScalarType> {};
INSTANTIATE_TEST_SUITE_P(Types, CustomEmbedding, testing::Values(at::kBFloat16, at::kHalf, at::kFloat),
                         [](const auto& test) { return c10::toString(test.param); });

TEST_P(CustomEmbedding, EqualsTheFormulaInDouble) {
  for (uint64_t seed = 1; seed <= 12; ++seed) expect_close(EmbeddingCase::random(seed), GetParam());
  expect_close({.lengths = {1}, .adapter = {0}}, GetParam());
  // Rows of a block of threads.
  expect_close({.lengths = {2, 1}, .adapter = {0, 2}, .adapters = 3, .columns = 1032, .prompt = 2}, GetParam());
}

TEST_P(CustomEmbedding, GathersAreBitwise) {
  const EmbeddingInputs in({.lengths = {3, 0, 2},
                            .adapter = {0, 0, 1},
                            .adapters = 2,
                            .columns = 72,
                            .prompt = 2,
                            .position = false,
                            .type = false,
                            .norm = {}},
                           GetParam());
  const at::Tensor words = in.tables.word_VC.index_select(0, in.ids).cpu();
  const at::Tensor expected = prepend_rows(in.prompt.detach().cpu().to(GetParam()), words, in.host_rows, in.longer);
  EXPECT_TRUE(same_values(in.found()[0].cpu(), expected));
}

TEST_P(CustomEmbedding, BankIsBitwiseSeparateRuns) {
  const EmbeddingCase c{
      .lengths = {3, 1, 2, 2, 4, 6, 1}, .adapter = {0, 0, 0, 0, 0, 2, 3}, .adapters = 4, .columns = 264, .prompt = 3};
  const EmbeddingInputs bank(c, GetParam());
  const auto whole = bank.found();
  for (int64_t k = 0; k < c.adapters; ++k) {
    EmbeddingCase alone = c;
    alone.adapters = 1;
    alone.lengths.clear();
    for (std::size_t b = 0; b < c.lengths.size(); ++b) {
      if (c.adapter[b] == k) alone.lengths.push_back(c.lengths[b]);
    }
    alone.adapter.assign(alone.lengths.size(), 0);
    EmbeddingInputs in(alone, GetParam());
    const auto range = [&](const at::Tensor& x, const Batch& all, const Batch& part) {
      return x.detach().narrow(0, all->group_rows()[k], part->rows()).clone();
    };
    in.ids = range(bank.ids, bank.rows, in.rows);
    in.types = range(bank.types, bank.rows, in.rows);
    in.dy = range(bank.dy, bank.longer, in.longer);
    in.prompt = bank.prompt.detach().narrow(0, k, 1).clone().requires_grad_(true);
    const auto separate = in.found();
    EXPECT_TRUE(same_values(separate[0], range(whole[0], bank.longer, in.longer))) << k;
    EXPECT_TRUE(same_values(separate[1], whole[1].narrow(0, k, 1))) << k;
  }
}

/// One plan serves every pass over the same rows, with the ids of each.
TEST_P(CustomEmbedding, WithoutAPromptAndWithOtherIds) {
  EmbeddingInputs in({.lengths = {3, 2}, .adapter = {0, 0}, .columns = 40, .prompt = 0, .norm = {}}, GetParam());
  for (int pass = 0; pass < 2; ++pass) {
    const at::Tensor y = custom::packed_embedding(in.tables, in.ids, in.types, {}, in.rows);
    EXPECT_FALSE(y.requires_grad());
    EXPECT_LE(relative_error(y.cpu(), in.expected()[0].detach()), tolerance(GetParam()));
    in.ids = (in.ids + 1).remainder(kWords);
  }
}

/// Rows of tokens without a prompt have a gradient, and a prompt beside rows that need none.
TEST_P(CustomEmbedding, OneOfBothTrained) {
  EmbeddingInputs in({.lengths = {3, 2}, .adapter = {0, 0}, .columns = 40, .prompt = 2, .given_rows = true},
                     GetParam());
  const auto both = in.found();
  in.x = in.x.detach();
  const at::Tensor y = custom::packed_embedding(in.tables, in.ids, in.types, in.prompt, in.rows, false, in.x);
  EXPECT_TRUE(same_values(torch::autograd::grad({y}, {in.prompt}, {in.dy})[0], both[1]));

  EmbeddingInputs bare({.lengths = {3, 2}, .adapter = {0, 0}, .columns = 40, .prompt = 0, .given_rows = true},
                       GetParam());
  const at::Tensor alone = custom::packed_embedding(bare.tables, bare.ids, bare.types, {}, bare.rows, false, bare.x);
  EXPECT_LE(relative_error(torch::autograd::grad({alone}, {bare.x}, {bare.dy})[0].cpu(), bare.expected()[2]),
            tolerance(GetParam()));
}

TEST(CustomEmbeddingErrors, ShapesThatContradictEachOther) {
  const EmbeddingInputs in({.lengths = {3, 2}, .adapter = {0, 1}, .adapters = 2, .columns = 16, .prompt = 2},
                           at::kHalf);
  const auto run = [&](const custom::EmbeddingTables& tables, const at::Tensor& ids, const at::Tensor& prompt) {
    return custom::packed_embedding(tables, ids, in.types, prompt, in.rows);
  };
  EXPECT_NO_THROW(run(in.tables, in.ids, in.prompt));
  EXPECT_THROW(run(in.tables, in.ids.narrow(0, 0, 4), in.prompt), Error);
  EXPECT_THROW(run(in.tables, in.ids, in.prompt.narrow(0, 0, 1)), Error);
  custom::EmbeddingTables other = in.tables;
  other.position_NC = in.tables.position_NC.narrow(0, 0, 6);  // rows 2 to 6 are needed
  EXPECT_THROW(run(other, in.ids, in.prompt), Error);
  other = in.tables;
  other.type_UC = in.tables.type_UC.to(at::kFloat);
  EXPECT_THROW(run(other, in.ids, in.prompt), Error);
  other = in.tables;
  other.word_VC = in.tables.word_VC.narrow(1, 0, 8);
  EXPECT_THROW(run(other, in.ids, in.prompt), Error);
}

}  // namespace
}  // namespace peft
