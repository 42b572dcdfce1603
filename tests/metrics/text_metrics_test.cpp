#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "peft/base/error.h"
#include "peft/metrics/metrics.h"

namespace peft {
namespace {

using Texts = std::vector<std::string>;

Scored texts(Texts predictions, std::vector<Texts> references) {
  Scored scored;
  scored.predicted_texts = std::move(predictions);
  scored.reference_texts = std::move(references);
  return scored;
}

double score(const std::string& metric, const std::string& prediction, const Texts& references) {
  const MetricValue got = compute_metric(metric, texts({prediction}, {references}));
  EXPECT_EQ(got.undefined, "");
  return got.value;
}

TEST(Squad, NormalisesCasePunctuationArticlesAndSpace) {
  const auto same = [](const std::string& a, const std::string& b) { return score("squad_em", a, {b}) == 1.0; };
  EXPECT_TRUE(same("The  Cat.", "cat"));
  EXPECT_TRUE(same("dog's", "dogs"));
  EXPECT_TRUE(same("the-cat", "thecat")) << "punctuation goes first: no article is left";
  EXPECT_FALSE(same("the-cat", "cat"));
  EXPECT_TRUE(same("an apple a day", "apple day"));
  EXPECT_FALSE(same("a_b", "b")) << "_ goes as punctuation, and ab is one word";
  EXPECT_FALSE(same("“the” cat", "cat")) << "other punctuation stays";
  EXPECT_TRUE(same("“the” cat", "“ ” cat")) << "and is a word boundary";
  EXPECT_TRUE(same("ÄRGER", "ärger"));
  EXPECT_TRUE(same("a\u0301 x", "\u0301 x")) << "a combining mark is no word character";
  EXPECT_FALSE(same("á x", "x"));
  EXPECT_TRUE(same("x\u00A0\u2003y\x1Fz", "x y z"));
  EXPECT_TRUE(same("the", ""));
  EXPECT_FALSE(same("a1", "1")) << "digits are word characters";
}

TEST(Squad, F1IsOverTheBagsOfTokens) {
  EXPECT_DOUBLE_EQ(score("squad_f1", "cat cat dog", {"cat bird"}), 2 * (1.0 / 3) * 0.5 / (1.0 / 3 + 0.5));
  EXPECT_EQ(score("squad_f1", "x", {"y"}), 0.0);
  EXPECT_EQ(score("squad_f1", "the", {""}), 0.0);
  EXPECT_EQ(score("squad_em", "the", {""}), 1.0);
  EXPECT_DOUBLE_EQ(score("squad_f1", "red cat", {"blue dog", "cat"}), 2.0 / 3) << "the best of the references";
}

TEST(ExactMatch, StripsAsciiSpaceAndTakesAnyReference) {
  EXPECT_EQ(score("exact_match", " x y\n", {"x y"}), 1.0);
  EXPECT_EQ(score("exact_match", "x", {"y", "\tx"}), 1.0);
  EXPECT_EQ(score("exact_match", "X", {"x"}), 0.0);
  EXPECT_EQ(score("exact_match", "x\u00A0", {"x"}), 0.0);
  EXPECT_EQ(score("exact_match", " \t", {""}), 1.0);
}

TEST(NumberEm, ReadsTheLastNumber) {
  const auto same = [](const std::string& a, const std::string& b) { return score("number_em", a, {b}) == 1.0; };
  EXPECT_TRUE(same("it is 3, so 18.", "work 5 #### 18.00"));
  EXPECT_TRUE(same("1,234.50", "1234.5"));
  EXPECT_TRUE(same("5 - 3", "3"));
  EXPECT_TRUE(same("= -3", "-3"));
  EXPECT_TRUE(same("-3", "-3"));
  for (const char* no_minus : {"x-3", "ß-3", "5-3", "(x)-3", "5.-3", "5,-3"})
    EXPECT_TRUE(same(no_minus, "3")) << no_minus;
  EXPECT_TRUE(same("\u22123", "3")) << "U+2212 is no minus";
  EXPECT_TRUE(same("\u0301-3", "-3"));
  EXPECT_TRUE(same("-0.0", "0"));
  EXPECT_TRUE(same("007", "7"));
  EXPECT_TRUE(same(".50", "0.5"));
  EXPECT_TRUE(same("-.5", "-0.5"));
  EXPECT_TRUE(same("1,,000,", "1000"));
  EXPECT_TRUE(same("1.2.3", "0.3"));
  EXPECT_TRUE(same("100", "100."));
  EXPECT_FALSE(same("none", "3"));
  EXPECT_FALSE(same("30", "3"));
  EXPECT_TRUE(same("4", "9 #### 5 #### 4"));
  EXPECT_EQ(score("number_em", "7", {"6", "7.0"}), 1.0);
  EXPECT_THROW(score("number_em", "3", {"3 #### none"}), DataError);
}

TEST(Rouge, IsTheFOfTheOverlap) {
  EXPECT_DOUBLE_EQ(score("rouge1", "the cat the", {"the dog"}), 2 * (1.0 / 3) * 0.5 / (1.0 / 3 + 0.5)) << "clipped";
  EXPECT_DOUBLE_EQ(score("rouge2", "a b c", {"a b d"}), 0.5);
  EXPECT_DOUBLE_EQ(score("rougeL", "a x b y c", {"a b c"}), 2 * 0.6 / 1.6);
  EXPECT_EQ(score("rouge1", "Café-au", {"caf AU"}), 1.0) << "accented letters split words";
  EXPECT_EQ(score("rouge1", "\u212A \u0130s", {"k i s"}), 1.0) << "lower case first";
  for (const char* metric : {"rouge1", "rouge2", "rougeL"}) {
    EXPECT_EQ(score(metric, "", {"x y"}), 0.0) << metric;
    EXPECT_EQ(score(metric, "!", {""}), 0.0) << metric;
    EXPECT_EQ(score(metric, "x y", {"a", "x y"}), 1.0) << metric;
  }
  EXPECT_EQ(score("rouge2", "x", {"x"}), 0.0) << "no pair of words";
}

TEST(Bleu, IsOfTheWholeSplit) {
  EXPECT_DOUBLE_EQ(compute_metric("bleu", texts({"a b c d"}, {{"a b c d"}})).value, 100.0);
  EXPECT_EQ(score("bleu", "a b c", {"a b c"}), 0.0) << "no 4-gram";
  EXPECT_EQ(score("bleu", "a b c d", {"e f g h"}), 0.0) << "no match";
  EXPECT_EQ(score("bleu", "", {"e"}), 0.0);
  // Without matches of orders 3 and 4: precisions 1/(2 2) and 1/(4 1).
  EXPECT_NEAR(score("bleu", "a b x y", {"a b c d"}), 100 * std::pow(2.0 / 4 * 1 / 3 * 1 / 4 * 1 / 4, 0.25), 1e-12);
  // Of lengths 3 and 5 the shorter one is closest to 4: no penalty.
  EXPECT_NEAR(score("bleu", "a b c d", {"a b c d e", "x y z"}), 100.0, 1e-12);
  const double pooled = compute_metric("bleu", texts({"a b c d", "x"}, {{"a b c d"}, {"x"}})).value;
  EXPECT_DOUBLE_EQ(pooled, 100.0) << "rows are summed, not averaged";
}

TEST(Bleu, SplitsAsTokenizer13aDoes) {
  const auto same = [](const std::string& a, const std::string& b) { return score("bleu", a, {b}) > 99.9; };
  EXPECT_TRUE(same("Hello, world! It's (1,234.5) 5-year", "Hello , world ! It's ( 1,234.5 ) 5 - year"));
  EXPECT_TRUE(same("a&quot;b&amp;c<skipped> d", "a \" b & c d"));
  EXPECT_TRUE(same("co-\nop well-known one\ntwo", "coop well-known one two"));
  EXPECT_TRUE(same("end of it. U.S. ok", "end of it . U . S . ok"));
}

TEST(Texts, CannotBeMixedWithOtherMetricsAndAreChecked) {
  EXPECT_THROW(compute_metric("accuracy", texts({"x"}, {{"x"}})), ConfigError);
  EXPECT_THROW(compute_metric("squad_em", {{1}, {1}, {}}), ConfigError);
  EXPECT_THROW(compute_metric("bleu", texts({"x"}, {{"x"}, {"y"}})), DataError);
  EXPECT_THROW(compute_metric("bleu", texts({"x"}, {{}})), DataError);
  EXPECT_THROW(compute_metric("rouge1", texts({"\xFF"}, {{"x"}})), DataError);
  EXPECT_THROW(compute_metric("rouge1", texts({"x"}, {{"\xC3"}})), DataError);
}

TEST(Texts, AnIntervalIsThatOfResamplesScoredOneByOne) {
  const Scored scored = texts({"the red cat sat on it", "a dog", "no idea at all here", "12", "x y z"},
                              {{"red cat sat on it"}, {"dog", "cat"}, {"some idea at all"}, {"12.0"}, {"x z"}});
  for (const char* metric : {"squad_f1", "squad_em", "exact_match", "rouge1", "rouge2", "rougeL", "bleu"}) {
    std::vector<double> values;
    for (uint64_t b = 0; b < 41; ++b) {  // (B - 1) 0.025 is an integer: no interpolation
      Scored resample;
      for (uint64_t i = 0; i < 5; ++i) {
        const uint64_t row = bootstrap_draw(3, b, i, 5);
        resample.predicted_texts.push_back(scored.predicted_texts[row]);
        resample.reference_texts.push_back(scored.reference_texts[row]);
      }
      values.push_back(compute_metric(metric, resample).value);
    }
    std::sort(values.begin(), values.end());
    const Interval got = bootstrap_interval(metric, scored, 41, 3);
    EXPECT_NEAR(got.low, values[1], 1e-12) << metric;
    EXPECT_NEAR(got.high, values[39], 1e-12) << metric;
  }
}

}  // namespace
}  // namespace peft
