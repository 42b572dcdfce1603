#pragma once
/// Banks of adapters for the tests of methods: made from the JSON of a run config's `method` section.

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "peft/methods/method.h"
#include "tests/support/gradcheck.h"
#include "tests/support/sites.h"
#include "tests/support/tiny_bert.h"

namespace peft {

/// A checked method section.
inline std::unique_ptr<MethodConfig> method_config(const Json& json) {
  MethodSection section;
  parse_fields([&](Fields& fields) { section.visit(fields); }, json, "test.json");
  section->validate();
  return section->clone();
}

/// A method with everything it points to.
struct MethodBank {
  std::vector<std::unique_ptr<MethodConfig>> configs;
  DropoutContext context;
  std::unique_ptr<Method> method;

  /// Adapters of one config.
  MethodBank(Transformer& model, const Json& json, const std::vector<uint64_t>& seeds = {1},
             at::ScalarType dtype = at::kDouble, const Tokenizer* tokenizer = nullptr,
             const std::function<AdapterFiles(const std::string&)>& read_folder = {})
      : MethodBank(std::vector<Json>(seeds.size(), json), model, seeds, dtype, tokenizer, read_folder) {}
  /// One config per adapter.
  MethodBank(const std::vector<Json>& jsons, Transformer& model, const std::vector<uint64_t>& seeds,
             at::ScalarType dtype = at::kDouble, const Tokenizer* tokenizer = nullptr,
             const std::function<AdapterFiles(const std::string&)>& read_folder = {})
      : context{.training = false, .seeds = seeds, .steps = std::vector<int64_t>(seeds.size(), 3)} {
    BankSpec spec;
    for (const Json& json : jsons) configs.push_back(method_config(json));
    for (const auto& config : configs) spec.configs.push_back(config.get());
    spec.seeds = seeds;
    spec.outputs = 2;
    spec.max_length = 32;
    spec.tokenizer = tokenizer;
    spec.dtype = dtype;
    spec.read_folder = read_folder;
    method = make_method(model, spec);
  }
  Method* operator->() { return method.get(); }

  at::Tensor logits(const Transformer& model, const ModelInput& input) {
    method->begin_pass(context);
    return model.classify(input, *method, context);
  }
  std::vector<at::Tensor> leaves() const {
    std::vector<at::Tensor> all;
    for (const Parameter& p : method->parameters()) all.push_back(p.value);
    return all;
  }
  /// Adds N(0, scale^2) to every tensor; slice k draws from its own seed, so banks and singles get the same numbers.
  void perturb(double scale = 0.02) {
    at::NoGradGuard no_grad;
    for (const Parameter& p : method->parameters()) {
      for (int64_t k = 0; k < method->adapters(); ++k) {
        p.value[k].add_(
            random_tensor(hash64(p.name, context.seeds[k]), p.value[k].sizes(), scale).to(p.value.scalar_type()));
      }
    }
  }
};

}  // namespace peft
