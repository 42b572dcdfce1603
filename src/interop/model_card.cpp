#include <fmt/format.h>
#include <fmt/ranges.h>

#include "peft/interop/description.h"
#include "peft/methods/adapter.h"

namespace peft {
namespace {

/// "accuracy 0.9266 (95 % interval 0.9083 to 0.9427)", a metric a part.
std::string scores_text(const Json& scores) {
  std::vector<std::string> parts;
  const Json intervals = scores.value("ci95", Json());
  for (const auto& [name, value] : scores.items()) {
    if (name == "split" || name == "n" || name == "step" || !value.is_number()) continue;
    std::string text = fmt::format("{} {:.4f}", name, value.get<double>());
    const Json interval = intervals.is_object() ? intervals.value(name, Json()) : Json();
    if (interval.is_array() && interval.size() == 2 && interval[0].is_number() && interval[1].is_number())
      text += fmt::format(" (95 % interval {:.4f} to {:.4f})", interval[0].get<double>(), interval[1].get<double>());
    parts.push_back(text);
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string text_of(const Json& scores, const char* key) {
  const Json value = scores.value(key, Json(""));
  return value.is_string() ? value.get<std::string>() : value.dump();
}

/// In a cell of a table.
std::string cell(std::string text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n') text[i] = ' ';
    if (text[i] == '|') text.insert(i++, "\\");
  }
  return text;
}

}  // namespace

bool known_to_peft(const std::string& peft_type) {
  return peft_type == "LORA" || peft_type == "PROMPT_TUNING" || peft_type == "P_TUNING" || peft_type == "PREFIX_TUNING";
}

std::string model_card(const Description& of, const std::vector<std::string>& labels, const std::string& peft_type) {
  const bool whole = peft_type.empty(), named = of.base_model.find('/') != std::string::npos;
  std::string text = "---\n";
  if (named) text += fmt::format("base_model: {}\n", of.base_model);
  if (known_to_peft(peft_type)) text += "library_name: peft\n";
  text +=
      fmt::format("tags:\n- peft.cpp\n- {}\n---\n\n# {}: {}\n\n| | |\n|---|---|\n", of.method, of.task.name, of.method);
  const auto row = [&](const std::string& name, const std::string& value) {
    if (!value.empty()) text += fmt::format("| {} | {} |\n", name, cell(value));
  };
  row("base model", fmt::format("{}, fingerprint {}", of.base_model, of.fingerprint));
  row("trained parameters", std::to_string(of.trainable_parameters));
  row("labels, in the order of the head", fmt::format("{}", fmt::join(labels, ", ")));
  row("max_length", std::to_string(of.task.max_length));
  row("pooling", of.pooling);
  if (of.scores.is_object()) {
    const std::string policy = text_of(of.scores, "split_policy");
    row(fmt::format("{}, {} examples{}", text_of(of.scores, "split"), text_of(of.scores, "n"),
                    policy.empty() ? "" : fmt::format(" (split policy {})", policy)),
        scores_text(of.scores));
  }
  text +=
      whole ? "\nA whole model for transformers and peft.cpp.\n"
      : known_to_peft(peft_type)
          ? "\nHugging Face peft computes the same logits from this folder.\n"
          : fmt::format("\npeft does not know the type {}: it refuses this folder. peft.cpp reads it.\n", peft_type);
  text += fmt::format("\n```sh\npeft-eval --adapter THIS_FOLDER{} --data LABELLED_FILE\n```\n",
                      whole ? "" : " --model BASE_MODEL_FOLDER");
  return text;
}

}  // namespace peft
