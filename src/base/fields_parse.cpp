#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <type_traits>
#include <utility>

#include "peft/base/error.h"
#include "peft/base/fields.h"
#include "peft/base/peer_names.h"
#include "src/base/field_text.h"

namespace peft {
namespace {

/// Reads one value, or throws `ORIGIN: PATH: found X, expected Y`.
class LeafReader {
 public:
  LeafReader(const std::string& origin, const FieldInfo& info) : origin_(origin), info_(info) {}

  void read(bool& out, const Json& json, const std::string& path) const {
    if (!json.is_boolean()) refuse(path, json, expected(&out));
    out = json.get<bool>();
  }

  void read(int64_t& out, const Json& json, const std::string& path) const {
    if (!json.is_number()) refuse(path, json, expected(&out));
    if (json.is_number_float()) {
      const double value = json.get<double>();
      if (value != std::floor(value)) refuse(path, json, expected(&out));
      // Whole numbers beyond 64 bits arrive here rounded, perhaps to the bound itself.
      if (!(value > -0x1p63 && value < 0x1p63)) refuse(path, json, "an integer of 64 bits");
      out = static_cast<int64_t>(value);
    } else if (json.is_number_unsigned() && json.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()}) {
      refuse(path, json, "an integer of 64 bits");
    } else {
      out = json.get<int64_t>();
    }
    check_range(static_cast<double>(out), json, path, "an integer");
  }

  void read(double& out, const Json& json, const std::string& path) const {
    if (!json.is_number() || !std::isfinite(json.get<double>())) refuse(path, json, expected(&out));
    out = json.get<double>();
    check_range(out, json, path, "a number");
  }

  void read(std::string& out, const Json& json, const std::string& path) const {
    if (!json.is_string()) refuse(path, json, info_.choices.empty() ? expected(&out) : choice_words());
    out = json.get<std::string>();
    if (info_.choices.empty() || std::count(info_.choices.begin(), info_.choices.end(), out) > 0) return;
    refuse(path, json, choice_words() + value_hint(path, out, info_.choices));
  }

  template <class T>
  void read(std::vector<T>& out, const Json& json, const std::string& path) const {
    if (!json.is_array()) refuse(path, json, expected(&out));
    std::vector<T> values(json.size());
    for (std::size_t i = 0; i < values.size(); ++i) read(values[i], json[i], fmt::format("{}[{}]", path, i));
    out = std::move(values);
  }

  template <class T>
  void read(std::map<std::string, T>& out, const Json& json, const std::string& path) const {
    if (!json.is_object()) refuse(path, json, expected(&out));
    std::map<std::string, T> values;
    for (const auto& [key, value] : json.items()) read(values[key], value, joined_path(path, key));
    out = std::move(values);
  }

  template <class T>
  void read(OrderedMap<T>& out, const Json& json, const std::string& path) const {
    const auto members = ordered_members(json);
    if (!members) refuse(path, json, expected(&out));
    OrderedMap<T> values;
    for (const auto& [key, value] : *members)
      read(values.members.emplace_back(key, T{}).second, *value, joined_path(path, key));
    out = std::move(values);
  }

  template <class T>
  void read(std::optional<T>& out, const Json& json, const std::string& path) const {
    if (json.is_null()) {
      out.reset();
    } else {
      T value{};
      read(value, json, path);
      out = std::move(value);
    }
  }

  void read(Json& out, const Json& json, const std::string&) const { out = json; }

 private:
  template <class T>
  std::string expected(const T* type) const {
    std::string words = TypeWords()(type);
    if constexpr (std::is_same_v<T, int64_t> || std::is_same_v<T, double>) {
      if (const std::string range = range_words(info_); !range.empty()) words += " " + range;
    }
    return words;
  }

  std::string choice_words() const {
    return info_.choices.size() == 1 ? quoted_list(info_.choices) : "one of " + quoted_list(info_.choices);
  }

  void check_range(double value, const Json& json, const std::string& path, const char* type) const {
    const bool above = info_.min_exclusive ? value > info_.min : value >= info_.min;
    const bool below = info_.max_exclusive ? value < info_.max : value <= info_.max;
    if (!above || !below) refuse(path, json, fmt::format("{} {}", type, range_words(info_)));
  }

  [[noreturn]] void refuse(const std::string& path, const Json& found, const std::string& words) const {
    throw_error<ConfigError>("{}: {}: found {}, expected {}", origin_, path, short_json(found), words);
  }

  const std::string& origin_;
  const FieldInfo& info_;
};

class Parser final : public Fields {
 public:
  Parser(const Json& json, std::string origin) : origin_(std::move(origin)) {
    if (!json.is_object()) throw_error<ConfigError>("{}: found {}, expected an object", origin_, short_json(json));
    open_.push_back(sections_.emplace("", Visited{&json, {}}).first);
  }

  const Json* current() const override { return here().json; }

  /// Complaints that can be made only when everything was visited: a misspelt key is told before the key it left missing.
  void finish(const std::vector<std::string>& ignored) const {
    for (const auto& [path, section] : sections_) {
      for (const auto& [key, value] : section.json->items()) {
        const bool skipped = path.empty() && std::count(ignored.begin(), ignored.end(), key) > 0;
        if (!skipped && std::count(section.known.begin(), section.known.end(), key) == 0)
          refuse_unknown(path, section.known, key);
      }
    }
    if (!missing_.empty()) throw_error<ConfigError>("{}: {}: missing, but required", origin_, missing_);
  }

 protected:
  void leaf(std::string_view name, Leaf value, const FieldInfo& info) override {
    const std::string path = know(name);
    const auto found = here().json->find(std::string(name));
    if (found == here().json->end()) {
      if (info.required && missing_.empty()) missing_ = path;
      return;
    }
    const LeafReader reader(origin_, info);
    std::visit([&](auto* out) { reader.read(*out, *found, path); }, value);
  }

  bool begin_section(std::string_view name, const FieldInfo& info) override {
    static const Json absent = Json::object();
    const std::string path = know(name);
    const auto found = here().json->find(std::string(name));
    const bool present = found != here().json->end();
    if (!present && info.required && missing_.empty()) missing_ = path;
    if (present && !found->is_object()) {
      throw_error<ConfigError>("{}: {}: found {}, expected an object", origin_, path, short_json(*found));
    }
    open_.push_back(sections_.emplace(path, Visited{present ? &*found : &absent, {}}).first);
    return true;
  }

  void end_section() override { open_.pop_back(); }

 private:
  struct Visited {
    const Json* json;
    std::vector<std::string> known;  ///< keys that the struct has, in its order
  };
  using Sections = std::map<std::string, Visited>;

  const Visited& here() const { return open_.back()->second; }

  /// Notes a key of the open section; returns its path.
  std::string know(std::string_view name) {
    open_.back()->second.known.emplace_back(name);
    return joined_path(open_.back()->first, name);
  }

  [[noreturn]] void refuse_unknown(const std::string& section, const std::vector<std::string>& known,
                                   const std::string& key) const {
    const std::string path = joined_path(section, key);
    std::string hint = peer_key_answer(path);
    if (!hint.empty()) {
      hint += where_missing(our_key(path));
    } else {
      const std::string near = nearest_name(key, known), elsewhere = near.empty() ? in_another_section(key) : near;
      hint = elsewhere.empty() ? "known keys: " + quoted_list(known) : fmt::format("did you mean \"{}\"?", elsewhere);
    }
    throw_error<ConfigError>("{}: {}: unknown key; {}", origin_, path, hint);
  }

  /// Sections whose keys depend on their `type` (method) may lack one that others of the kind have.
  std::string where_missing(std::string_view path) const {
    const std::size_t dot = path.rfind('.');
    const auto section = sections_.find(std::string(path.substr(0, dot)));
    if (dot == std::string_view::npos || section == sections_.end()) return {};
    const auto& [json, known] = section->second;
    if (std::count(known.begin(), known.end(), path.substr(dot + 1)) > 0 || !json->contains("type")) return {};
    return fmt::format(", a key that \"type\": {} does not have", short_json((*json)["type"]));
  }

  /// The path of a key put into the wrong section. Names that mean something else in each section tell nothing.
  std::string in_another_section(const std::string& key) const {
    constexpr std::array<std::string_view, 12> general{"type",  "name", "path", "data", "text", "label",
                                                       "train", "dev",  "test", "head", "init", "dropout"};
    if (std::count(general.begin(), general.end(), key) > 0) return {};
    for (const auto& [path, other] : sections_) {
      if (std::count(other.known.begin(), other.known.end(), key) > 0) return joined_path(path, key);
    }
    return {};
  }

  std::string origin_;
  Sections sections_;  ///< by path; one that is visited twice keeps the keys of both visits
  std::vector<Sections::iterator> open_;
  std::string missing_;  ///< first required key that is absent
};

}  // namespace

void parse_fields(const std::function<void(Fields&)>& visit, const Json& json, const std::string& origin,
                  const std::vector<std::string>& ignored) {
  Parser parser(json, origin);
  visit(parser);
  parser.finish(ignored);
}

}  // namespace peft
