#include "peft/base/peer_names.h"

#include <fmt/format.h>

#include "src/base/field_text.h"

#include "peft/base/json.h"

namespace peft {
namespace {

const PeerName* find(std::span<const PeerName> names, std::string_view name) {
  for (const PeerName& peer : names) {
    if (peer.name == name) return &peer;
  }
  return nullptr;
}

std::string answer(const PeerName& peer) {
  if (peer.ours.empty()) return std::string(peer.note);
  return fmt::format("here it is \"{}\"{}", peer.ours, peer.note.empty() ? "" : fmt::format(" ({})", peer.note));
}

const PeerName* find_key(std::string_view path) {
  const std::string folded = folded_name(path);
  const std::string_view view = folded, name = view.substr(view.rfind('.') + 1);  // npos + 1 = 0
  for (const std::string_view spelling : {view, name}) {
    const PeerName* peer = find(peer_keys(), spelling);
    if (peer != nullptr && peer->ours != path) return peer;
  }
  return nullptr;
}

}  // namespace

std::string_view our_key(std::string_view path) {
  const PeerName* peer = find_key(path);
  return peer == nullptr ? std::string_view() : peer->ours;
}

std::string peer_key_answer(std::string_view path) {
  const PeerName* peer = find_key(path);
  return peer == nullptr ? std::string() : answer(*peer);
}

std::string peer_value_answer(std::string_view kind, std::string_view value) {
  const PeerName* peer = find(peer_values(kind), folded_name(value));
  return peer == nullptr ? std::string() : answer(*peer);
}

std::string value_hint(std::string_view kind, std::string_view value, const std::vector<std::string>& known) {
  if (const std::string answer = peer_value_answer(kind, value); !answer.empty()) return "; " + answer;
  const std::string near = nearest_name(value, known);
  return near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near);
}

}  // namespace peft
