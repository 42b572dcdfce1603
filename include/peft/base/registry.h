#pragma once
/// Names to factories. A file registers itself with one static object; a duplicate name ends the program at start-up, an unknown
/// name is an error that lists the known ones.

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "peft/base/error.h"
#include "peft/base/json.h"
#include "peft/base/peer_names.h"

namespace peft {

template <class Entry>
class Registry {
 public:
  /// `kind` ("method", "task", ...) appears in messages.
  explicit Registry(std::string kind) : kind_(std::move(kind)) {}

  bool add(const std::string& name, Entry entry) {
    if (!entries_.emplace(name, std::move(entry)).second) throw Error(kind_ + " \"" + name + "\" is registered twice");
    return true;
  }
  const Entry* find(const std::string& name) const {
    const auto it = entries_.find(name);
    return it == entries_.end() ? nullptr : &it->second;
  }
  /// Throws ConfigError: `unknown method "lroa"; did you mean "lora"? (known: full, lora, ...)`.
  const Entry& at(const std::string& name) const {
    if (const Entry* entry = find(name)) return *entry;
    std::string known;
    for (const auto& n : names()) known += (known.empty() ? "" : ", ") + n;
    throw ConfigError("unknown " + kind_ + " \"" + name + "\"" + value_hint(kind_, name, names()) +
                      " (known: " + known + ")");
  }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& [name, entry] : entries_) out.push_back(name);
    return out;
  }

 private:
  std::string kind_;
  std::map<std::string, Entry> entries_;
};

}  // namespace peft
