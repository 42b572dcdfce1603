/// What stands around the stock CUDA operators, as far as a CPU can show it: layouts of log-sum-exps, the choice of a backend. The route
/// itself is compared with the reference in attention_test.cpp and state_test.cpp.

#include <gmock/gmock.h>

#include "src/kernels/attention/select.h"
#include "tests/kernels/varlen_on_cpu.h"

namespace peft {
namespace {

TEST(AttentionVarlen, PaddedLogSumExpsComeBack) {
  const Batch rows = make_batch({3, 0, 5, 1, 0});
  const at::Tensor lse = random_tensor(1, {2, 9}), cu = rows->cu_seqlens();
  EXPECT_EQ(cu.scalar_type(), at::kInt);
  const at::Tensor padded = lse_to_padded(lse, cu, 8);
  ASSERT_EQ(padded.sizes(), (std::vector<int64_t>{5, 2, 8}));
  for (int64_t b = 0; b < 5; ++b) {
    for (int64_t h = 0; h < 2; ++h) {
      for (int64_t i = 0; i < 8; ++i) {
        const auto found = padded[b][h][i].item<double>();
        if (i < rows->length(b)) {
          EXPECT_EQ(found, lse[h][rows->begin(b) + i].item<double>());
        } else {
          EXPECT_EQ(found, std::numeric_limits<double>::infinity());
        }
      }
    }
  }
  EXPECT_TRUE(same_values(lse_of_padded(padded, cu, 9), lse));
}

TEST(AttentionVarlen, RepeatsBitForBit) {
  const AttentionInputs in =
      make_inputs({.lengths = {5, 1, 3, 17}, .adapters = 2, .groups = 2, .prefix = 3}, at::kFloat);
  const auto first = outcome(attention_varlen_on_cpu, in), second = outcome(attention_varlen_on_cpu, in);
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(same_values(first[i], second[i]));
}

TEST(SelectBackend, Table) {
  using enum AttentionBackend;
  const auto chosen = [](bool cuda, at::ScalarType type, int64_t width, bool dropout = false) {
    return select_backend({.cuda = cuda, .type = type, .width = width, .dropout = dropout});
  };
  for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kBFloat16}) EXPECT_EQ(chosen(false, type, 64), cpu);
  for (const at::ScalarType type : {at::kBFloat16, at::kHalf}) {
    for (const int64_t width : {8, 32, 80, 256}) EXPECT_EQ(chosen(true, type, width), flash);
    for (const int64_t width : {4, 12, 264}) EXPECT_EQ(chosen(true, type, width), explicit_);
  }
  EXPECT_EQ(chosen(true, at::kFloat, 64), efficient);
  EXPECT_EQ(chosen(true, at::kFloat, 6), explicit_);
  EXPECT_EQ(chosen(true, at::kDouble, 64), explicit_);
  for (const bool cuda : {false, true}) EXPECT_EQ(chosen(cuda, at::kBFloat16, 64, true), explicit_);
}

}  // namespace
}  // namespace peft
