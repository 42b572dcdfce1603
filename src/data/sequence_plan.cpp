#include "sequence_plan.h"

#include <algorithm>

#include "peft/base/error.h"

namespace peft {

SequencePlan::SequencePlan(const TaskSpec& spec) {
  for (const TaskSpec::Sequence& sequence : spec.sequences) {
    texts_.push_back(parse(sequence.text));
    pairs_.push_back(parse(sequence.text_pair));
  }
  if (fields_.empty()) throw Error("a task's sequences name no field");
  for (const Field& field : fields_)
    if (field.count != Count::one && &field != &fields_.back())
      throw_error("a task's field {} is not its last, so it must occur once", field.name);
}

SequencePlan::Text SequencePlan::parse(std::string_view text) {
  Text pieces;
  const auto word = [&](char c) {
    if (pieces.empty() || pieces.back().field >= 0) pieces.push_back({});
    pieces.back().words += c;
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool doubled = i + 1 < text.size() && text[i + 1] == text[i];
    if ((text[i] == '{' || text[i] == '}') && doubled) {
      word(text[++i]);
    } else if (text[i] == '{') {
      const std::size_t end = text.find('}', i);
      if (end == std::string_view::npos) throw_error("a task's sequence \"{}\": a brace is never closed", text);
      pieces.push_back({"", field_number(text.substr(i + 1, end - i - 1))});
      i = end;
    } else {
      word(text[i]);
    }
  }
  return pieces;
}

int64_t SequencePlan::field_number(std::string_view name) {
  Count count = Count::one;
  if (name.ends_with('?')) count = Count::optional;
  if (name.ends_with('*')) count = Count::list;
  if (count != Count::one) name.remove_suffix(1);
  const auto known = std::find_if(fields_.begin(), fields_.end(), [&](const Field& f) { return f.name == name; });
  if (known != fields_.end()) return known - fields_.begin();
  fields_.push_back({std::string(name), count});
  return static_cast<int64_t>(fields_.size()) - 1;
}

int64_t SequencePlan::sequences(std::size_t texts) const {
  const std::size_t members = listed() ? texts - (fields_.size() - 1) : 1;
  return static_cast<int64_t>(texts_.size() * members);
}

bool SequencePlan::write(const std::vector<std::string_view>& texts, int64_t s, Side side, std::string& out) const {
  const auto table = static_cast<int64_t>(texts_.size());
  const int64_t member = s / table;
  const Text& pieces = (side == Side::text ? texts_ : pairs_)[static_cast<std::size_t>(s % table)];
  const std::size_t before = out.size();
  for (const Piece& piece : pieces) {
    if (piece.field < 0) {
      out += piece.words;
      continue;
    }
    const bool last = piece.field + 1 == static_cast<int64_t>(fields_.size());
    const auto at = static_cast<std::size_t>(piece.field + (last ? member : 0));
    if (at >= texts.size()) {  // an optional field that this record lacks
      out.resize(before);
      return false;
    }
    out += texts[at];
  }
  return !pieces.empty();
}

}  // namespace peft
