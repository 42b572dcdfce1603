#pragma once
/// Entities in a sequence of tags.

#include <cstddef>
#include <string>
#include <tuple>
#include <vector>

namespace peft {

/// The words [begin, end).
struct Entity {
  std::string type;
  std::size_t begin, end;
  bool operator<(const Entity& other) const {
    return std::tie(type, begin, end) < std::tie(other.type, other.begin, other.end);
  }
};

/// Entities as seqeval's default mode and conlleval find them. A tag is a mark and a type, "B-PER"; "O" is outside. An entity begins at B and S, at
/// I and E behind another type, O, E or S, and ends in front of O, B and S, behind E and S, and where the type changes.
std::vector<Entity> find_entities(const std::vector<std::string>& tags);

/// Whether every tag is "O" or has a mark of BIOES in front of its type.
bool marks_entities(const std::vector<std::string>& tags);

}  // namespace peft
