#include "peft/interop/labels.h"

#include <gmock/gmock.h>

#include "peft/base/error.h"
#include "peft/base/files.h"
#include "peft/interop/adapter_store.h"
#include "tests/base/temporary_folder.h"
#include "tests/support/banks.h"
#include "tests/support/method_configs.h"
#include "tests/support/tiny_task.h"

namespace peft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::ThrowsMessage;
using Names = std::vector<std::string>;

TEST(MatchLabels, EachNameHasItsPlace) {
  EXPECT_THAT(match_labels({"c", "a", "b"}, {"a", "b", "c"}, "x"), ElementsAre(1, 2, 0));
  EXPECT_THAT(match_labels({"NEGATIVE", "POSITIVE"}, {"positive", "negative"}, "x"), ElementsAre(1, 0));
  // Equal names go before names that are equal but for their case.
  EXPECT_THAT(match_labels({"US", "us"}, {"us", "US"}, "x"), ElementsAre(1, 0));
}

TEST(MatchLabels, WhatIsNoPermutationIsRefusedWithBothLists) {
  const auto refused = [](const Names& from, const Names& to, const std::string& message) {
    EXPECT_THAT([&] { match_labels(from, to, "there"); },
                ThrowsMessage<DataError>("there: the head has the labels " + message));
  };
  refused({"a", "b"}, {"a", "c"}, "a, b; the data has a, c");
  refused({"a", "b"}, {"a", "b", "c"}, "a, b; the data has a, b, c");
  refused({"a", "b", "c"}, {"a", "b"}, "a, b, c; the data has a, b");
  refused({"US", "us"}, {"Us", "uS"}, "US, us; the data has Us, uS");
}

class Labels : public testing::Test {
 protected:
  TemporaryFolder folder_;
  const TinyTask task_{"labels"};
  Transformer model_ = Transformer::load(task_.folder / "model", "float32");
  const std::unique_ptr<Tokenizer> tokenizer_ = Tokenizer::load(task_.folder / "model");
  const ModelInput input_ = make_input({random_text(1, 4), random_text(2, 3), random_text(3, 6)});

  MethodBank bank(const Json& config, std::vector<uint64_t> seeds = {1}) {
    MethodBank made{model_, config, seeds, at::kFloat, tokenizer_.get()};
    made.perturb(0.3);
    return made;
  }
};

TEST_F(Labels, OfEveryMethodAreReorderedByName) {
  for (const auto& [name, config] : method_configs()) {
    SCOPED_TRACE(name);
    MethodBank one = bank(config);
    const at::Tensor before = one.logits(model_, input_).detach().clone();
    order_labels(model_, *one.method, 0, {"no", "yes"}, {"no", "yes"}, "x");
    EXPECT_TRUE(same_values(one.logits(model_, input_).detach(), before));
    order_labels(model_, *one.method, 0, {"no", "yes"}, {"yes", "no"}, "x");
    EXPECT_TRUE(same_values(one.logits(model_, input_).detach(), before.flip(1)));
    testing::internal::CaptureStderr();
    order_labels(model_, *one.method, 0, {}, {"no", "yes"}, "x");  // not known: as they are
    EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("x: the names of its classes are not known"));
    EXPECT_TRUE(same_values(one.logits(model_, input_).detach(), before.flip(1)));
  }
}

TEST_F(Labels, OfOneAdapterOfABankMoveAlone) {
  MethodBank three = bank(method_config_of("lora"), {1, 2, 3});
  const at::Tensor weight = three->parameter("classifier.weight").value.detach(), before = weight.clone();
  order_labels(model_, *three.method, 1, {"a", "b"}, {"b", "a"}, "x");
  EXPECT_TRUE(same_values(weight[0], before[0]) && same_values(weight[2], before[2]));
  EXPECT_TRUE(same_values(weight[1], before[1].flip(0)));
}

TEST_F(Labels, AnAdapterStartsInTheOrderOfTheNewTask) {
  for (const char* type : {"lora", "prompt", "full"}) {
    SCOPED_TRACE(type);
    MethodBank saved = bank(method_config_of(type)), started = bank(method_config_of(type));
    const at::Tensor trained = saved->parameter("classifier.weight").value.detach().clone();
    AdapterStore{model_, {"no", "yes"}}.save(folder_ / type, *saved.method, 0);
    const AdapterStore turned{model_, {"yes", "no"}};
    turned.restore(folder_ / type, *started.method, 0, true);
    EXPECT_TRUE(same_values(started->parameter("classifier.weight").value.detach(), trained.flip(1)));
    const AdapterStore other{model_, {"yes", "maybe"}};
    EXPECT_THAT([&] { other.restore(folder_ / type, *started.method, 0, true); },
                ThrowsMessage<DataError>(HasSubstr("the head has the labels no, yes; the data has yes, maybe")));
    other.restore(folder_ / type, *started.method, 0, /*head=*/false);
  }
}

/// A label layer that does not train is the checkpoint's, whose order the run has already put right.
TEST_F(Labels, AFrozenLayerThatIsNotReadIsNotReordered) {
  for (const char* type : {"full", "p_tuning"}) {
    SCOPED_TRACE(type);
    Json config = method_config_of(type);
    config["modules_to_save"] = Json::array();
    MethodBank saved = bank(config), started = bank(config);
    const TrainedLinear* layer = labels_layer(model_, *started.method);
    ASSERT_NE(layer, nullptr);
    ASSERT_FALSE(trains_labels(model_, *started.method));
    const at::Tensor before = layer->weight_KOC.clone();
    AdapterStore{model_, {"no", "yes"}}.save(folder_ / type, *saved.method, 0);
    const AdapterStore turned{model_, {"yes", "no"}};
    turned.restore(folder_ / type, *started.method, 0, true);
    EXPECT_TRUE(same_values(layer->weight_KOC, before));
  }
}

TEST_F(Labels, OfACheckpointAreThoseOfItsConfig) {
  const auto of = [&](const Json& id2label, int64_t outputs) {
    write_atomic(folder_ / "config.json", Json{{"id2label", id2label}}.dump());
    return model_labels(folder_.path(), outputs);
  };
  EXPECT_THAT(of({{"0", "b"}, {"1", "a"}}, 2), ElementsAre("b", "a"));
  EXPECT_THAT(of({{"0", "b"}, {"1", "a"}}, 3), IsEmpty());
  EXPECT_THAT(of({{"0", "LABEL_0"}, {"1", "LABEL_1"}}, 2), IsEmpty());
  EXPECT_THAT(of({{"0", "b"}, {"2", "a"}}, 2), IsEmpty());
  EXPECT_THAT(of("b", 1), IsEmpty());
}

}  // namespace
}  // namespace peft
