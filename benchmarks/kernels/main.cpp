/// kernel_bench [--only TEXT] [--out FILE]: every case whose name contains TEXT, as JSON on stdout or in FILE.

#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/AutogradState.h>
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>

#include "benchmarks/kernels/harness.h"

int main(int argc, char** argv) {
  using namespace peft;
  std::string only, out;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string option = argv[i];
    if (option == "--only") {
      only = argv[i + 1];
    } else if (option == "--out") {
      out = argv[i + 1];
    } else {
      std::cerr << "kernel_bench: " << option << ": unknown option; usage: kernel_bench [--only TEXT] [--out FILE]\n";
      return 2;
    }
  }
  if (!at::hasCUDA() || at::detail::getCUDAHooks().deviceCount() == 0) {
    std::cout << "skipped: no NVIDIA GPU on this machine\n";
    return 77;
  }
  // A capture takes only what its own thread launches: backward passes must not have threads of their own.
  c10::AutogradState::get_tls_state().set_multithreading_enabled(false);
  const Json ceiling = bench::measure_ceilings();
  const double copy_rate = ceiling["copy_TBps"].get<double>() * 1e12;
  Json results = Json::array();
  const auto report = [&] { return Json{{"schema", 1}, {"ceiling", ceiling}, {"results", results}}.dump(1) + "\n"; };
  bool failed = false;
  for (const auto& cases : {bench::attention_cases(), bench::row_cases()}) {
    for (const bench::MakeCase& make : cases) {
      std::string name = "a case that could not be made";
      try {
        const bench::Case c = make();
        if (c.bench.find(only) == std::string::npos) continue;
        name = c.bench + " " + c.shape.dump();
        results.push_back(bench::measure(c, copy_rate));
        std::cerr << results.back().dump() << "\n";
      } catch (const std::exception& error) {  // one case that fails does not cost the others
        std::cerr << "kernel_bench: " << name << ": " << error.what() << "\n";
        failed = true;
      }
      if (out.empty()) continue;
      const std::string next = out + ".next";  // whole at any time, should this process be ended
      std::ofstream(next) << report();
      std::filesystem::rename(next, out);
    }
  }
  if (out.empty()) std::cout << report();
  return failed ? 1 : 0;
}
