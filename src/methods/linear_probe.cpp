/// Only the head trains: the baseline that every method should beat. Trainable numbers: the head's.
/// The file (ours: peft has no such type) holds the head under the name the Hugging Face class uses.

#include "peft/methods/method.h"

namespace peft {
namespace {

constexpr const char* kPrefix = "base_model.model.";

struct LinearProbeConfig : MethodConfig {
  std::unique_ptr<MethodConfig> clone() const override { return std::make_unique<LinearProbeConfig>(*this); }
};

class LinearProbe : public Method {
 public:
  LinearProbe(Transformer& model, const BankSpec& bank) : Method(model, bank) { add_trained_head(); }

  AdapterFiles fold(int64_t k) const override {
    AdapterFiles files;
    files.config = base_config("LINEAR_PROBE");
    files.config.update({{"library", "peft.cpp"}, {"format_version", 1}, {"head", "architecture"}});
    fold_head(k, kPrefix, files);
    return files;
  }
  void load(int64_t k, const AdapterFiles& files, bool head) override {
    if (head) load_head(k, kPrefix, files);
  }
};

std::unique_ptr<MethodConfig> recognise(const AdapterFiles& files) {
  if (files.config.value("peft_type", "") != "LINEAR_PROBE") return nullptr;
  return std::make_unique<LinearProbeConfig>();
}

const bool registered = methods().add(
    "linear_probe",
    {[] { return std::make_unique<LinearProbeConfig>(); },
     [](Transformer& model, const BankSpec& bank) { return std::make_unique<LinearProbe>(model, bank); }, recognise});

}  // namespace
}  // namespace peft
