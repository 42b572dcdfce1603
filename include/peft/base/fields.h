#pragma once
/// One description of a config struct serves parsing, range checks, printing, JSON Schema and the reference page.
///
///   struct TrainConfig {
///     double learning_rate = 1e-3;
///     std::string optim = "adamw";
///     void visit(Fields& f) {
///       f.field("learning_rate", learning_rate, {.help = "peak rate of all groups", .min = 0});
///       f.field("optim", optim, {.help = "optimiser", .choices = {"adamw", "sgd"}});
///     }
///   };
///
/// The struct's initial values are the defaults. A std::optional field may be absent or null.

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "peft/base/json.h"
#include "peft/base/ordered_map.h"

namespace peft {

struct FieldInfo {
  std::string help = {};  ///< one line for the schema and the reference page
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool min_exclusive = false;  ///< value > min instead of value >= min
  bool max_exclusive = false;
  std::vector<std::string> choices = {};  ///< of a string; empty = free text
  bool required = false;                  ///< no default: an absent key is an error
  bool per_job = false;                   ///< may differ between the jobs of one bank; of a section: all its fields may
  bool changes_numbers = true;            ///< false: a run may go on with another value
};

/// Which fields and sections a visitor takes; empty: all of them.
using FieldFilter = std::function<bool(const FieldInfo&)>;

class Fields;

/// Anything with `void visit(Fields&)`.
template <class T>
concept Section = requires(T& value, Fields& fields) {
  value.visit(fields);
};

/// The visitor. Concrete visitors (parse, print, schema, docs) override `leaf` and the two brackets of a section.
class Fields {
 public:
  virtual ~Fields() = default;

  /// A value of one of the types below.
  using Leaf =
      std::variant<bool*, int64_t*, double*, std::string*, std::vector<std::string>*, std::vector<int64_t>*,
                   std::map<std::string, double>*, std::map<std::string, int64_t>*, std::map<std::string, std::string>*,
                   OrderedMap<double>*, OrderedMap<int64_t>*, std::optional<bool>*, std::optional<int64_t>*,
                   std::optional<double>*, std::optional<std::string>*,
                   Json* /* any JSON value; the owner checks it in its own visit() or validate() */>;

  template <class T>
  void field(std::string_view name, T& value, const FieldInfo& info) {
    if constexpr (Section<T>) {
      if (!begin_section(name, info)) return;
      value.visit(*this);
      end_section();
    } else {
      leaf(name, Leaf(&value), info);
    }
  }

  /// A section whose fields depend on one of its own keys, as `method` on `type`: `visit_body` is called inside the brackets.
  void section(std::string_view name, const FieldInfo& info, const std::function<void(Fields&)>& visit_body) {
    if (!begin_section(name, info)) return;
    visit_body(*this);
    end_section();
  }

  /// The raw JSON of the section being visited when parsing (an empty object when it is absent), else nullptr: for peeking at a
  /// `type` key. Nothing in it is checked yet: the key may be absent or of any type.
  virtual const Json* current() const { return nullptr; }

 protected:
  virtual void leaf(std::string_view name, Leaf value, const FieldInfo& info) = 0;
  virtual bool begin_section(std::string_view name, const FieldInfo& info) = 0;  ///< false: skip the section
  virtual void end_section() = 0;
};

/// Fills the struct behind `visit` from `json`; absent keys keep their defaults. `origin` names the file in messages. Throws
/// ConfigError, one of
///   `ORIGIN: train.learning_rat: unknown key; did you mean "learning_rate"?`   (or the known keys, when none is near)
///   `ORIGIN: model.path: missing, but required`
///   `ORIGIN: train.max_steps: found "ten", expected an integer >= 1`           (wrong type, out of range, not a choice)
/// Top-level keys listed in `ignored` are skipped. An integer field accepts 3, 3.0 and 1e3, never 3.5; a double field accepts
/// integers. Range and choices of a list or map hold for its elements. A section may be visited in several parts.
void parse_fields(const std::function<void(Fields&)>& visit, const Json& json, const std::string& origin,
                  const std::vector<std::string>& ignored = {});

/// The current values as JSON: of the fields and sections that `wanted` accepts. Absent optionals are left out.
Json print_fields(const std::function<void(Fields&)>& visit, const FieldFilter& wanted = {});

/// JSON Schema (draft 2020-12) object of the section: types, ranges, choices, defaults, descriptions, additionalProperties false.
/// It accepts what parse_fields accepts. Whoever writes it as a document of its own adds "$schema".
Json schema_fields(const std::function<void(Fields&)>& visit);

/// Markdown table of the section: key | default | range | meaning.
std::string document_fields(const std::function<void(Fields&)>& visit);

/// `--set key.path=value`: value is JSON when it parses as JSON, else a string. Creates missing sections. Throws ConfigError.
void apply_set(Json& config, std::string_view assignment);

}  // namespace peft
