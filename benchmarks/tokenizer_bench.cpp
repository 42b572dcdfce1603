// tokenizer_bench MODEL_FOLDER TEXT_FILE [--benchmark_...]: megabytes of text a second on one core, line by line.
// benchmarks/tokenizer_bench.py makes the input and runs the tokenizers library beside it.

#include <benchmark/benchmark.h>

#include <iostream>
#include <memory>
#include <string_view>
#include <vector>

#include "peft/base/error.h"
#include "peft/base/files.h"
#include "peft/text/tokenizer.h"

namespace {

std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (argc != 3) {
    std::cerr << "usage: tokenizer_bench MODEL_FOLDER TEXT_FILE [--benchmark_...]\n";
    return 2;
  }
  try {
    const auto tokenizer = peft::Tokenizer::load(argv[1]);
    const peft::MappedFile file(argv[2]);
    const auto lines = split_lines(file.text());
    const auto bytes = static_cast<int64_t>(file.text().size());

    benchmark::RegisterBenchmark("load", [&](benchmark::State& state) {
      for (auto _ : state) benchmark::DoNotOptimize(peft::Tokenizer::load(argv[1]));
    });
    benchmark::RegisterBenchmark("encode_content", [&](benchmark::State& state) {
      std::vector<int32_t> ids;
      for (auto _ : state) {
        ids.clear();
        for (const auto line : lines) tokenizer->encode_content(line, ids);
        benchmark::DoNotOptimize(ids.data());
      }
      state.SetBytesProcessed(state.iterations() * bytes);
      state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(ids.size()));
    });
    benchmark::RegisterBenchmark("encode", [&](benchmark::State& state) {
      for (auto _ : state)
        for (const auto line : lines)
          benchmark::DoNotOptimize(tokenizer->encode(line, std::nullopt, {.max_length = 128}));
      state.SetBytesProcessed(state.iterations() * bytes);
    });
    benchmark::RunSpecifiedBenchmarks();
  } catch (const peft::Error& error) {
    std::cerr << error.what() << '\n';
    return static_cast<int>(error.code());
  }
}
