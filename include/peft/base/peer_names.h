#pragma once
/// Names that other programs use (transformers, peft, axolotl, LLaMA-Factory, torchtune, Lightning) and what they are called here. Unknown
/// keys and values are looked up before a nearest name is guessed, for a guess cannot know what a name means elsewhere.

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace peft {

struct PeerName {
  std::string_view name;  ///< lower case, with `_`; `section.key` counts in that section only
  std::string_view ours;  ///< full path of the key, or the value; empty: there is none
  std::string_view
      note;  ///< with `ours`: the form of the value where it differs; without: "not supported: why", "not needed: why"
};

std::span<const PeerName> peer_keys();

/// Full path of the key that a peer's key at its full path means; empty: no peer has it, or there is none here.
std::string_view our_key(std::string_view path);
/// What to answer to an unknown key at its full path: `here it is "train.eval_steps" (n: every n steps)`, or `not supported: ...`. Empty:
/// no peer has it.
std::string peer_key_answer(std::string_view path);

/// Values of a kind: the path of a key with choices ("train.optim"), or of a registry ("method", "task", "metric").
std::span<const PeerName> peer_values(std::string_view kind);
std::string peer_value_answer(std::string_view kind, std::string_view value);

/// What ends a message about an unknown value: `; ` and the answer to a peer's value, else `; did you mean "..."?` with the nearest of the
/// known ones, else nothing.
std::string value_hint(std::string_view kind, std::string_view value, const std::vector<std::string>& known);

}  // namespace peft
