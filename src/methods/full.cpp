/// Full fine-tuning: every tensor of the backbone and a new head train. The baseline that the methods are measured against.
/// K = 1 only; there is no adapter form: best/ and last/ are model folders.

#include <ATen/ATen.h>

#include "peft/base/error.h"
#include "peft/methods/method.h"

namespace peft {
namespace {

struct FullConfig : MethodConfig {
  std::unique_ptr<MethodConfig> clone() const override { return std::make_unique<FullConfig>(*this); }
  bool shares_bank() const override { return false; }
};

class Full : public Method {
 public:
  Full(Transformer& model, const BankSpec& bank) : Method(model, bank) {
    if (bank.adapters() != 1)
      throw_error<ConfigError>("method.type: \"full\" trains one adapter at a time, found a bank of {}",
                               bank.adapters());
    if (model.dtype() != bank.dtype) {
      throw_error<ConfigError>(
          "model.dtype: full fine-tuning trains the weights themselves in float32; set \"float32\"");
    }
    add_trained_head();
    model.unfuse();
    model.for_tensors([&](const std::string& name, at::Tensor& tensor) {
      if (trained_head(name)) return;
      at::Tensor leaf = tensor.detach().clone().unsqueeze(0).set_requires_grad(true);
      add_leaf({name, leaf, "backbone", tensor.dim() > 1});
    });
  }

  /// The network sees each leaf without its leading 1, formed anew for each pass.
  void begin_pass(const DropoutContext& context) override {
    Method::begin_pass(context);
    model_.for_tensors([&](const std::string& name, at::Tensor& tensor) {
      if (!trained_head(name)) tensor = parameter(name).value.squeeze(0);
    });
  }

  bool writes_model_folder() const override { return true; }

  AdapterFiles fold(int64_t k) const override {
    AdapterFiles files;
    for (const Parameter& p : parameters()) files.tensors[p.name] = p.value.detach()[k];
    return files;
  }
  void load(int64_t k, const AdapterFiles& files, bool head) override {
    load_trained(k, files.tensors, files.origin + "/model.safetensors", head);
  }

 private:
  bool trained_head(const std::string& tensor) {
    return trained_module(tensor.substr(0, tensor.rfind('.'))) != nullptr;
  }
};

const bool registered = methods().add(
    "full", {[] { return std::make_unique<FullConfig>(); },
             [](Transformer& model, const BankSpec& bank) { return std::make_unique<Full>(model, bank); }, nullptr});

}  // namespace
}  // namespace peft
