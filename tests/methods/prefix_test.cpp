/// prefix (docs/methods.md#prefix).

#include "tests/methods/prefix_method.h"
#include "tests/support/number_tokenizer.h"

namespace peft {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

TEST_F(Prefix, PaddedReference) {
  MethodBank bank(model_, with());
  bank.perturb();
  expect_pairs(bank, trained(bank, "prefix_key"), trained(bank, "prefix_value"));
}

TEST_F(Prefix, PaddedReferenceOfSimple) {
  MethodBank bank(model_, with({{"sharing", "simple"}}));
  bank.perturb();
  const at::Tensor rows = trained(bank, "prefix_rows");
  expect_pairs(bank, frozen("key", rows), frozen("value", rows));
  MethodBank direct(model_, with({{"sharing", "simple"}, {"through_projection", false}}));
  expect_pairs(direct, trained(direct, "prefix_rows"), trained(direct, "prefix_rows"));
}

TEST_F(Prefix, PaddedReferenceOfDeep) {
  for (const bool single : {false, true}) {
    for (const bool through : {false, true}) {
      for (const char* network : {"per_layer", "all_layers"}) {
        Json config =
            with({{"sharing", "deep"}, {"network", network}, {"single", single}, {"through_projection", through}});
        if (!single) config["encoder_hidden_size"] = 6;
        MethodBank bank(model_, config);
        bank.perturb(0.3);
        const auto net = [&](const at::Tensor& rows, const auto& part) {
          const at::Tensor first = at::tanh(at::matmul(rows, part("encoder.0.weight")) + part("encoder.0.bias"));
          return single ? first : at::matmul(first, part("encoder.1.weight")) + part("encoder.1.bias");
        };
        at::Tensor pairs_L2PY;
        if (std::string(network) == "per_layer") {
          std::vector<at::Tensor> layers;
          for (int64_t l = 0; l < 2; ++l) {
            const auto part = [&](const char* name) { return trained(bank, name)[l]; };
            const at::Tensor both = net(trained(bank, "prefix_rows")[l], part);
            layers.push_back(at::stack({both.narrow(1, 0, 8), both.narrow(1, 8, 8)}));
          }
          pairs_L2PY = at::stack(layers);
        } else {
          const auto part = [&](const char* name) { return trained(bank, name); };
          pairs_L2PY = net(trained(bank, "prefix_rows"), part).view({3, 2, 2, 8}).permute({1, 2, 0, 3});
        }
        const at::Tensor keys = pairs_L2PY.select(1, 0), values = pairs_L2PY.select(1, 1);
        expect_pairs(bank, through ? frozen("key", keys) : keys, through ? frozen("value", values) : values);
      }
    }
  }
}

TEST_F(Prefix, NoneThroughTheFrozenMaps) {
  MethodBank bank(model_, with({{"through_projection", true}}));
  bank.perturb();
  expect_pairs(bank, frozen("key", trained(bank, "prefix_key")), frozen("value", trained(bank, "prefix_value")));
}

TEST_F(Prefix, LayersWithoutOneHaveNone) {
  for (const auto& [layers, present] :
       {std::pair{Json("first"), std::vector<bool>{true, false}}, std::pair{Json{1}, std::vector<bool>{false, true}}}) {
    MethodBank bank(model_, with({{"layers", layers}, {"position_shift", "off"}}));
    bank.perturb();
    prefixed_ = present;
    shift_ = false;
    const auto both = [&](const char* name) {
      const at::Tensor own = trained(bank, name)[0], none = at::zeros_like(own);
      return present[0] ? at::stack({own, none}) : at::stack({none, own});
    };
    expect_pairs(bank, both("prefix_key"), both("prefix_value"));
    EXPECT_EQ(bank->virtual_tokens(), 0);
    const AdapterFiles files = bank->fold(0);
    EXPECT_EQ(files.config.at("layers"), present[0] ? Json{0} : Json{1});
    EXPECT_EQ(files.config.at("peft_type"), "PEFT_CPP_PREFIX_TUNING");
    // The files describe the same method.
    const auto config = recognise_adapter(files);
    const auto again = make_method(
        model_, {.configs = {config.get()}, .seeds = {5}, .outputs = 2, .dtype = at::kDouble, .from_files = true});
    again->load(0, files, true);
    again->begin_pass(bank.context);
    EXPECT_TRUE(same_values(model_.classify(make_input(texts_), *again, bank.context),
                            bank.logits(model_, make_input(texts_))));
    MethodBank everywhere(model_, with());
    EXPECT_THAT([&] { everywhere->load(0, files, true); }, ThrowsMessage<DataError>(HasSubstr("layers: found [")));
  }
}

TEST_F(Prefix, GroupsAndDecay) {
  for (const char* network : {"per_layer", "all_layers"}) {
    MethodBank bank(model_, with({{"sharing", "deep"}, {"network", network}}));
    for (const Parameter& p : bank->parameters()) {
      EXPECT_EQ(p.group, p.name.starts_with("classifier.") ? "head" : "encoder") << p.name;
      EXPECT_EQ(p.decays, !p.name.ends_with(".bias")) << p.name;
    }
    EXPECT_EQ(bank->parameter("encoder.0.bias").value.size(-1), std::string(network) == "per_layer" ? 48 : 512);
  }
  for (const char* sharing : {"none", "simple"}) {
    MethodBank bank(model_, with({{"sharing", sharing}}));
    EXPECT_EQ(bank->parameters().front().group, "adapter");
    EXPECT_EQ(bank->stores_trained_values(), std::string(sharing) == "simple");
  }
  EXPECT_TRUE(MethodBank(model_, with({{"through_projection", true}}))->stores_trained_values());
}

TEST_F(Prefix, PublishedCounts) {
  struct Shape {
    int64_t l, c;
  };
  const auto none = [](Shape s, int64_t p) { return 2 * s.l * p * s.c; };
  const auto per_layer = [](Shape s, int64_t p, int64_t e) {
    return s.l * (p * s.c + s.c * e + e + 2 * e * s.c + 2 * s.c);
  };
  const auto all_layers = [](Shape s, int64_t p, int64_t e) {
    return p * s.c + s.c * e + e + 2 * e * s.l * s.c + 2 * s.l * s.c;
  };
  const Shape vit_base{12, 768}, gpt2_medium{24, 1024}, mini_lm{6, 384}, bert_large{24, 1024}, bert_base{12, 768};
  EXPECT_EQ(per_layer(vit_base, 10, 48), 1438272);
  EXPECT_EQ(none(vit_base, 10), 184320);
  EXPECT_EQ(per_layer(vit_base, 200, 48), 3189312);
  EXPECT_EQ(all_layers(gpt2_medium, 5, 512), 25744896);
  EXPECT_EQ(none(mini_lm, 20), 92160);
  EXPECT_EQ(none(bert_large, 20), 983040);
  EXPECT_EQ(none(bert_large, 128), 6291456);
  EXPECT_EQ(all_layers(bert_base, 5, 512), 9853184);
  // The same formulas count what trains here.
  const auto count = [&](const Json& config) { return MethodBank(model_, with(config))->trainable_parameters() - 18; };
  const Shape tiny{2, 8};
  EXPECT_EQ(count(Json::object()), none(tiny, 3));
  EXPECT_EQ(count({{"sharing", "simple"}}), none(tiny, 3) / 2);
  EXPECT_EQ(count({{"sharing", "deep"}, {"network", "per_layer"}}), per_layer(tiny, 3, 48));
  EXPECT_EQ(count({{"sharing", "deep"}}), all_layers(tiny, 3, 512));
  EXPECT_EQ(count({{"layers", {0}}}), none({1, 8}, 3));
}

/// Rows in front of one layer's input, their outputs dropped, are a simple prefix of that layer.
TEST_F(Prefix, SimpleEqualsTokensWithoutQueries) {
  for (const bool pre : {false, true}) {
    Transformer model = altered({{"pre_norm", pre}});
    MethodBank bank(model, with({{"sharing", "simple"}}));
    bank->begin_pass(bank.context);
    const Attention& site = attention_of(model, 1);
    const StackSpec& stack = model.spec().first();
    const auto normed = [&](const at::Tensor& x) {
      return pre ? at::layer_norm(x, {8}, site.norm.weight_C, site.norm.bias_C, stack.norm_eps) : x;
    };
    const auto heads = [](const Linear& map, const at::Tensor& x) {
      return at::linear(x, map.weight_OC, map.bias_O).view({-1, 2, 4});
    };
    const Batch rows = make_batch({5, 2});
    const at::Tensor x = random_tensor(1, {7, 8}), p = trained(bank, "prefix_rows")[1];
    const at::Tensor longer = at::cat({p, x.narrow(0, 0, 5), p, x.narrow(0, 5, 2)});
    const at::Tensor q = heads(site.query, normed(x));
    const at::Tensor joined = attention(q, heads(site.key, normed(longer)), heads(site.value, normed(longer)),
                                        {.queries = rows, .keys = rows->lengthened(3), .scale = 0.5});
    const at::Tensor prefixed = attention(q, heads(site.key, normed(x)), heads(site.value, normed(x)),
                                          {.queries = rows, .keys = rows, .scale = 0.5, .prefix = bank->prefix(site)});
    EXPECT_LT(relative_error(prefixed, joined), 1e-12);
  }
}

TEST_F(Prefix, ThroughNormCanBeLeftOut) {
  Transformer model = altered({{"pre_norm", true}});
  MethodBank bank(model, with({{"sharing", "simple"}, {"through_norm", false}}));
  bank->begin_pass(bank.context);
  EXPECT_LT(relative_error(bank->prefix(attention_of(model_, 0)).k_KPGD.flatten(2)[0],
                           frozen(0, "key", trained(bank, "prefix_rows")[0])),
            1e-12);
  MethodBank normed(model, with({{"sharing", "simple"}}));
  normed->begin_pass(normed.context);
  EXPECT_GT(relative_error(normed->prefix(attention_of(model_, 0)).k_KPGD.flatten(2)[0],
                           frozen(0, "key", trained(normed, "prefix_rows")[0])),
            1e-2);
}

TEST_F(Prefix, GroupedHeadsEqualRepeatedHeads) {
  tiny_ = {.width = 16, .heads = 8};
  auto repeated = tiny_.tensors(), grouped = repeated;
  for (auto& [name, tensor] : grouped) {
    if (name.find("self.key") == std::string::npos && name.find("self.value") == std::string::npos) continue;
    tensor = tensor.narrow(0, 0, 4).contiguous();  // G = 2 heads of width 2
    repeated[name] = tensor.unflatten(0, {2, 2}).repeat_interleave(4, 0).flatten(0, 1).contiguous();
  }
  Transformer few = altered({{"kv_heads", 2}}, grouped);
  MethodBank bank(few, with());
  bank.perturb();
  EXPECT_EQ(trained(bank, "prefix_key").sizes(), (std::vector<int64_t>{2, 3, 4}));
  EXPECT_EQ(bank->fold(0).config.at("token_dim"), 4);
  EXPECT_EQ(bank->fold(0).config.at("num_attention_heads"), 2);
  const at::Tensor logits = bank.logits(few, make_input(texts_));
  Transformer many = altered({{"kv_heads", 8}}, repeated);
  MethodBank wide(many, with());
  for (const Parameter& p : wide->parameters()) {
    const at::Tensor own = trained(bank, p.name);
    p.value.detach()[0].copy_(
        p.name.starts_with("prefix_") ? own.unflatten(-1, {2, 2}).repeat_interleave(4, -2).flatten(-2) : own);
  }
  EXPECT_LT(relative_error(wide.logits(many, make_input(texts_)), logits), 1e-12);
}

TEST_F(Prefix, BudgetIsChecked) {
  MethodBank bank(model_, with({{"num_virtual_tokens", 20}})),
      off(model_, with({{"num_virtual_tokens", 20}, {"position_shift", "off"}}));
  EXPECT_EQ(512 - bank->virtual_tokens(), 492);
  EXPECT_EQ(512 - off->virtual_tokens(), 512);
}

TEST_F(Prefix, RejectsBadConfig) {
  refused(with({{"sharing", "half"}}), "sharing: found \"half\"");
  refused(with({{"network", "per_layer"}}), "method.network: needs sharing \"deep\", found \"none\"");
  refused(with({{"single", true}, {"sharing", "simple"}}), "method.single: needs sharing \"deep\", found \"simple\"");
  refused(with({{"encoder_hidden_size", 8}}), "method.encoder_hidden_size: needs sharing \"deep\"");
  refused(with({{"sharing", "deep"}, {"encoder_hidden_size", 0}}), "encoder_hidden_size: found 0");
  refused(with({{"sharing", "deep"}, {"encoder_hidden_size", 8193}}), "encoder_hidden_size: found 8193");
  refused(with({{"sharing", "deep"}, {"single", true}, {"encoder_hidden_size", 8}}),
          "method.encoder_hidden_size: found 8, but single");
  refused(with({{"sharing", "none"}, {"prefix_projection", true}}),
          "method.prefix_projection: true means sharing \"deep\"");
  refused(with({{"network", "per_layer"}, {"prefix_projection", true}}), "method.prefix_projection: true means");
  refused(with({{"through_projection", "yes"}}), "method.through_projection: found \"yes\"");
  refused(with({{"rope_on_prefix", true}}),
          "method.rope_on_prefix: found true, but rotated prefixes are not supported");
  refused(with({{"prefix_bias", "as_positions"}}), "method.prefix_bias: found \"as_positions\", expected \"none\"");
  refused(with({{"stacks", {"cross"}}}), "method.stacks: found \"cross\", but bert has only \"encoder_self\"");
  refused(with({{"stacks", 3}}), "method.stacks: found 3");
  refused(with({{"layers", {0, 2}}}), "method.layers: found [0,2], expected indices 0 to 1");
  refused(with({{"layers", {-1}}}), "method.layers: found [-1], expected indices 0 to 1");
  refused(with({{"layers", {1, 1}}}), "method.layers: found [1,1], expected every index once");
  refused(with({{"layers", "last"}}), "method.layers: found \"last\"");
  refused(with({{"layers", Json::array()}}), "method.layers: found []");
  refused(with({{"init_weights", "text"}}), "method.init_text: required by init_weights \"text\"");
  refused(with({{"init_weights", "text"}, {"init_text", "4"}}),
          "method.init_weights: \"text\" needs the model folder's tokenizer");
  refused(with({{"init_weights", "text"}, {"init_text", "4"}, {"sharing", "simple"}, {"through_projection", false}}),
          "method.init_weights: \"text\" needs through_projection");
  refused(with({{"init_weights", "zero"}, {"sharing", "simple"}}),
          "method.init_weights: found \"zero\" with through_projection");
  refused(with({{"prefix_dropout", 1.0}}), "prefix_dropout: found 1.0");
  refused(with({{"dropout_scope", "batch"}}), "dropout_scope: found \"batch\"");
  refused(with({{"position_shift", true}}), "position_shift");
  const NumberTokenizer tokenizer;
  EXPECT_THAT(
      [&] {
        MethodBank(
            model_,
            with({{"num_virtual_tokens", 41}, {"init_weights", "text"}, {"init_text", "4"}, {"position_shift", "off"}}),
            {1}, at::kDouble, &tokenizer);
      },
      ThrowsMessage<ConfigError>(HasSubstr("method.num_virtual_tokens: found 41, but the model has 40 positions")));
}

}  // namespace
}  // namespace peft
