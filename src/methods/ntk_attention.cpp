/// A linear-attention state in every layer: a trained stand-in for an arbitrarily long prefix.     [arXiv:2406.14036]
///
///   y = q sqrt(scale)     a = phi(y) Z     b = phi(y) . den     O = ( sum_j e^{s_j} v_j + a ) / ( sum_j e^{s_j} + b )
///
/// z [K,L,H,M,D], or z_a [K,L,H,M,R] and z_b [K,L,H,R,D]; den_raw [K,L,H,M], den = abs or softplus of it (elu), else itself. M features:
/// D (elu), 1 + D (taylor1), 1 + D + D(D+1)/2 (taylor2). Trainable numbers: L H M (D + 1). Mode compress starts from the sums over a
/// trained prefix; text positions then stay where the prefix had put them. Kernels: peft/kernels/state.h. File: docs/formats.md#types-of-our-own.

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "peft/base/error.h"
#include "peft/base/log.h"
#include "peft/base/summaries.h"
#include "src/methods/layers.h"
#include "src/methods/ntk_compress.h"
#include "src/methods/ntk_config.h"

namespace peft {
namespace {

constexpr int64_t kWidestHead = 256;
constexpr float kSmall = 1e-4F;

class NtkAttention : public Method {
 public:
  NtkAttention(Transformer& model, const BankSpec& bank)
      : Method(model, bank),
        config_(of(0)),
        stack_(model.spec().first()),
        map_(config_.map()),
        heads_(config_.per == "kv_head" ? stack_.kv_heads : stack_.heads),
        features_(feature_count(map_, stack_.head_dim)),
        shift_(config_.num_virtual_tokens) {
    check_limits();
    PrefixPairs source;
    if (config_.compresses()) source = read_source();
    sites_ = chosen_attentions(model, config_.compresses() ? Json(source.layers) : config_.layers, config_.stacks);
    gated_.resize(sites_.size());
    for (int64_t k = 0; k < adapters(); ++k) rates_.push_back(*of(k).feature_dropout);
    add_tensors();
    add_trained_head();
    if (config_.compresses()) compress(source);
  }

  int64_t virtual_tokens() const override { return shift_; }
  int64_t first_position() const override { return shift_; }

  void begin_pass(const DropoutContext& context) override {
    Method::begin_pass(context);
    const bool evaluates = !context.training;
    always_on_ = {true, bank_.seeds, std::vector<int64_t>(adapters(), 0)};
    feature_context_ = evaluates && *config_.dropout_in_eval ? &always_on_ : &context;
    counts_ = evaluates && map_ != FeatureMap::elu;
    // One node each for all layers: its backward writes each layer's gradient once.
    z_KHMD_ = at::unbind(z_.defined() ? z_ : at::matmul(z_a_, z_b_), 1);
    den_KHM_ = at::unbind(den_used(), 1);
  }

  LinearState state(const Attention& site) override {
    const auto found = std::find_if(sites_.begin(), sites_.end(),
                                    [&](const Attention* other) { return other->number == site.number; });
    if (found == sites_.end()) return {};
    const auto i = found - sites_.begin();
    return {.z_KHMD = z_KHMD_[i],
            .den_KHM = den_KHM_[i],
            .center_KHD = center_.defined() ? center_.select(1, i) : at::Tensor(),
            .map = map_,
            .dropout = {feature_context_, fmt::format("layer.{}.feature", site.number), rates_},
            .gated = counts_ ? &gated_[i] : nullptr};
  }

  Json end_evaluation() override {
    Json fractions = Json::object();
    std::vector<std::string> parts;
    for (std::size_t i = 0; i < gated_.size(); ++i) {
      const GatedRows count = std::exchange(gated_[i], {});
      if (count.rows == 0) continue;
      const double fraction = static_cast<double>(count.gated) / static_cast<double>(count.rows);
      fractions[std::to_string(sites_[i]->number)] = fraction;
      if (count.gated > 0) parts.push_back(fmt::format("{:.3g} % in layer {}", 100.0 * fraction, sites_[i]->number));
    }
    if (!parts.empty())
      log_warning("ntk_attention: rows whose state is off because its denominator is not positive: {}",
                  fmt::join(parts, ", "));
    return fractions.empty() ? Json::object() : Json{{"gated_rows", fractions}};
  }

  /// The files hold abs or softplus of the denominator.
  bool stores_trained_values() const override { return map_ == FeatureMap::elu && !*config_.freeze_den; }

  AdapterFiles fold(int64_t k) const override {
    AdapterFiles files;
    files.config = base_config("NTK_ATTENTION");
    std::vector<std::string> modules;
    for (const Attention* site : sites_) modules.push_back(site->module());
    files.config.update({{"library", "peft.cpp"},
                         {"format_version", 1},
                         {"target_modules", modules},
                         {"stacks", nullptr},
                         {"feature_map", config_.feature_map},
                         {"feature_dim", features_},
                         {"z_rank", config_.z_rank ? Json(*config_.z_rank) : Json()},
                         {"per", config_.per},
                         {"center", config_.center},
                         {"num_virtual_tokens", shift_}});
    const at::Tensor den = den_used().detach();
    for_tensors([&](const std::string& name, std::size_t i, const at::Tensor& bank) {
      files.tensors[name] = (bank.is_same(den_) ? den : bank).detach()[k][static_cast<int64_t>(i)];
    });
    fold_head(k, kTunerPrefix, files);
    return files;
  }

  void load(int64_t k, const AdapterFiles& files, bool head) override {
    const auto expect = [&](const char* key, auto expected) {
      auto found = expected;
      files.read(key, found);
      if (found != expected) {
        throw_error<DataError>("{}/adapter_config.json: {}: found {}, the method has {}", files.origin, key, found,
                               expected);
      }
    };
    expect("feature_map", config_.feature_map);
    expect("feature_dim", features_);
    expect("center", config_.center);
    if (files.config.value("num_virtual_tokens", Json(0)) != shift_) {  // absent: 0
      throw_error<DataError>("{}/adapter_config.json: num_virtual_tokens: found {}, the method has {}", files.origin,
                             files.config.value("num_virtual_tokens", Json()).dump(), shift_);
    }
    for_tensors([&](const std::string& name, std::size_t i, const at::Tensor& bank) {
      load_slice(bank.detach().select(1, static_cast<int64_t>(i)), k, files, name);
    });
    if (map_ == FeatureMap::elu) untransform(den_.detach()[k], files.origin);
    if (head) load_head(k, kTunerPrefix, files);
  }

 private:
  const NtkConfig& of(int64_t k) const { return dynamic_cast<const NtkConfig&>(*bank_.configs.at(k)); }

  void check_limits() const {
    if (model_.spec().stacks.size() > 1)
      throw_error<ConfigError>("method.type: \"ntk_attention\" needs a model of one stack, found {}",
                               model_.spec().model_type);
    if (stack_.head_dim > kWidestHead) {
      throw_error<ConfigError>("method.type: \"ntk_attention\" takes heads of at most {} columns, the model has {}",
                               kWidestHead, stack_.head_dim);
    }
    const int64_t highest = std::min(features_, stack_.head_dim) - 1;
    if (config_.z_rank && *config_.z_rank > highest && !bank_.from_files) {
      throw_error<ConfigError>("method.z_rank: found {}, expected 1 to {} for Z of {} x {}", *config_.z_rank, highest,
                               features_, stack_.head_dim);
    }
  }

  void add_tensors() {
    const auto layers = static_cast<int64_t>(sites_.size()), width = stack_.head_dim;
    const auto normal = [&](const std::string& name, float std) -> Fill {
      return [this, name, std](int64_t k, std::span<float> values) {
        init_stream(k, name).fill_normal(values, 0.0F, std);
      };
    };
    const Fill nothing = [](int64_t, std::span<float>) {};
    const bool small = *config_.init == "small";
    if (config_.z_rank) {
      const float std = 1.0F / std::sqrt(static_cast<float>(features_));
      z_a_ = add_parameter("z_a", {layers, heads_, features_, *config_.z_rank}, "adapter", normal("z_a", std));
      z_b_ = add_parameter("z_b", {layers, heads_, *config_.z_rank, width}, "adapter", nothing);
    } else {
      z_ = add_parameter("z", {layers, heads_, features_, width}, "adapter", small ? normal("z", kSmall) : nothing);
    }
    Fill den = small ? normal("den_raw", kSmall) : nothing;
    if (map_ != FeatureMap::elu) {  // on the constant feature alone: b > 0 for every query
      den = [this](int64_t, std::span<float> values) {
        for (std::size_t i = 0; i < values.size(); i += static_cast<std::size_t>(features_)) values[i] = kSmall;
      };
    }
    den_ = *config_.freeze_den ? make_bank({layers, heads_, features_}, den)
                               : add_parameter("den_raw", {layers, heads_, features_}, "adapter", den);
    if (config_.center) center_ = make_bank({layers, heads_, width}, nothing);
  }

  PrefixPairs read_source() {
    if (!bank_.read_folder) throw_error("ntk_attention: nothing reads {}", *config_.prefix_from);
    source_files_ = bank_.read_folder(*config_.prefix_from);
    PrefixPairs source = read_prefix_pairs(source_files_, stack_);
    shift_ = source.shift;
    return source;
  }

  /// Every adapter becomes the sums over the prefix; its head is the prefix's.
  void compress(const PrefixPairs& pairs) {
    for (const Attention* site : sites_) {
      if (site->spec.scale != sites_.front()->spec.scale)
        throw_error<ConfigError>("method.mode: \"compress\" needs one scale of all attentions, but {} and {} differ",
                                 sites_.front()->module(), site->module());
    }
    const LinearState state =
        state_of_pairs(pairs.k_LPGD, pairs.v_LPGD, sites_.front()->spec.scale, map_, config_.center);
    const auto put = [&](const at::Tensor& bank, const at::Tensor& of_kv_heads) {
      bank.detach().copy_(of_kv_heads.repeat_interleave(heads_ / stack_.kv_heads, 1).unsqueeze(0));
    };
    if (config_.z_rank) {
      const auto [a, b] = low_rank(state.z_KHMD, *config_.z_rank);
      put(z_a_, a);
      put(z_b_, b);
    } else {
      put(z_, state.z_KHMD);
    }
    put(den_, state.den_KHM);
    if (config_.center) put(center_, state.center_KHD);
    for (int64_t k = 0; k < adapters(); ++k) {
      if (of(k).init_head) load_head(k, kPromptPrefix, source_files_);
    }
  }

  at::Tensor den_used() const {
    if (map_ != FeatureMap::elu) return den_;
    return config_.den_transform == "abs" ? den_.abs() : at::softplus(den_);
  }

  /// From the denominator of a file to the value that gives it.
  void untransform(const at::Tensor& den, const std::string& origin) const {
    if ((den < 0).any().item<bool>())
      throw_error<DataError>("{}/adapter_model.safetensors: ntk_den has negative values beside feature_map elu",
                             origin);
    if (config_.den_transform == "softplus") {  // never 0: it would need minus infinity
      const at::Tensor positive = den.to(at::kDouble).clamp_min(1e-30);
      den.copy_(positive + at::log(-at::expm1(-positive)));
    }
  }

  /// visit(name in the file, index among the sites, bank [K,L,...]) of every tensor.
  template <class Visit>
  void for_tensors(const Visit& visit) const {
    for (std::size_t i = 0; i < sites_.size(); ++i) {
      const std::string prefix = kTunerPrefix + sites_[i]->module();
      for (const auto& [name, bank] :
           {std::pair{".ntk_Z", &z_}, std::pair{".ntk_z_a", &z_a_}, std::pair{".ntk_z_b", &z_b_},
            std::pair{".ntk_den", &den_}, std::pair{".ntk_center", &center_}}) {
        if (bank->defined()) visit(prefix + name, i, *bank);
      }
    }
  }

  const NtkConfig& config_;
  const StackSpec& stack_;  // heads of every site are its heads
  const FeatureMap map_;
  const int64_t heads_, features_;
  int64_t shift_;
  std::vector<const Attention*> sites_;       // that have a state
  at::Tensor z_, z_a_, z_b_, den_, center_;   // [K,L,H,...]; den_ before abs or softplus; z_ or its factors
  std::vector<double> rates_;                 // [K], of feature_dropout
  AdapterFiles source_files_;                 // of mode compress
  std::vector<at::Tensor> z_KHMD_, den_KHM_;  // per layer, of the current pass
  std::vector<GatedRows> gated_;              // per layer, of the current evaluation
  DropoutContext always_on_;
  const DropoutContext* feature_context_ = nullptr;
  bool counts_ = false;
};

const bool ntk_attention_registered =
    methods().add("ntk_attention",
                  {[] { return std::make_unique<NtkConfig>(); },
                   [](Transformer& model, const BankSpec& bank) { return std::make_unique<NtkAttention>(model, bank); },
                   recognise_ntk});

[[maybe_unused]] const bool ntk_attention_described =
    summaries("method").add("ntk_attention", {"a linear-attention state in place of a long prefix", "2406.14036"});

}  // namespace
}  // namespace peft
