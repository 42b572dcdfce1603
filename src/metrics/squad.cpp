#include <algorithm>
#include <iterator>

#include "characters.h"
#include "peft/base/summaries.h"
#include "text_rows.h"

namespace peft {
namespace {

using Words = std::vector<std::string>;

bool is_ascii_punctuation(char32_t c) {
  return (c >= U'!' && c <= U'/') || (c >= U':' && c <= U'@') || (c >= U'[' && c <= U'`') || (c >= U'{' && c <= U'~');
}

bool is_article(std::string_view run) { return run == "a" || run == "an" || run == "the"; }

// Words of a text after SQuAD's normalisation [Rajpurkar et al. 2016]: lower case, no ASCII punctuation, no articles,
// one space between words. An article is a whole run of word characters: a word boundary lies at either end of it.
Words normal_words(const std::string& text) {
  Words words;
  std::string word;     // since the last white space or article
  std::size_t run = 0;  // where its last run of word characters starts
  bool in_run = false;
  const auto end_word = [&] {
    if (!word.empty()) words.push_back(std::move(word));
    word.clear();
  };
  const auto end_run = [&] {
    if (in_run && is_article(std::string_view(word).substr(run))) {
      word.resize(run);
      end_word();
    }
    in_run = false;
  };
  for (std::size_t position = 0; position < text.size();) {
    const char32_t character = lower_case(next_character(text, position));
    if (is_ascii_punctuation(character)) continue;
    if (!is_word_character(character)) {
      end_run();
    } else if (!in_run) {
      in_run = true;
      run = word.size();
    }
    if (is_white_space(character)) {
      end_word();
    } else {
      append_character(word, character);
    }
  }
  end_run();
  end_word();
  return words;
}

std::vector<bool> right_answers(const Scored& scored) {
  return best_of_references(scored, normal_words, [](const Words& a, const Words& b) { return a == b; });
}

// Exact equality after normalisation.
Evaluate squad_em(const Scored& scored) { return share_of_right(right_answers(scored)); }

// F1 of the two bags of words; 0 without a common one, `empty` where neither has any.
Evaluate f1_of_bags(const Scored& scored, double empty) {
  const auto bag = [](const std::string& text) {
    Words words = normal_words(text);
    std::sort(words.begin(), words.end());
    return words;
  };
  return mean_of_rows(best_of_references(scored, bag, [empty](const Words& a, const Words& b) {
    if (a.empty() && b.empty()) return empty;
    Words both;
    std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
    return both.empty() ? 0.0 : 2.0 * double(both.size()) / double(a.size() + b.size());
  }));
}

Evaluate squad_f1(const Scored& scored) { return f1_of_bags(scored, 0.0); }

// Two empty texts agree that there is no answer.
Evaluate squad_v2_f1(const Scored& scored) { return f1_of_bags(scored, 1.0); }

[[maybe_unused]] const bool registered =
    metric_registry().add("squad_em", {.input = Metric::Input::texts, .prepare = squad_em, .right = right_answers}) &&
    metric_registry().add("squad_f1", {.input = Metric::Input::texts, .prepare = squad_f1, .right = right_answers}) &&
    metric_registry().add("squad_v2_f1",
                          {.input = Metric::Input::texts, .prepare = squad_v2_f1, .right = right_answers});

[[maybe_unused]] const bool described =
    summaries("metric").add("squad_em",
                            {"share of answers that equal a reference but for case, articles, punctuation"}) &&
    summaries("metric").add("squad_f1", {"mean F1 of the words of answers"}) &&
    summaries("metric").add("squad_v2_f1", {"squad_f1, where an empty answer may be right"});

}  // namespace
}  // namespace peft
