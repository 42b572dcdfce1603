#include "peft/interop/labels.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "peft/base/error.h"
#include "peft/base/log.h"
#include "peft/base/lower_case.h"

namespace peft {
namespace {

/// Empty: `to` is no permutation of `from`.
template <class Spelling>
std::vector<int64_t> permutation(const std::vector<std::string>& from, const std::vector<std::string>& to,
                                 const Spelling& spelling) {
  std::vector<int64_t> order;
  for (const std::string& name : to) {
    const auto same = [&](const std::string& other) { return spelling(other) == spelling(name); };
    if (from.size() != to.size() || std::count_if(from.begin(), from.end(), same) != 1 ||
        std::count_if(to.begin(), to.end(), same) != 1)
      return {};
    order.push_back(std::find_if(from.begin(), from.end(), same) - from.begin());
  }
  return order;
}

bool in_order(const std::vector<int64_t>& order) {
  return std::is_sorted(order.begin(), order.end());  // a permutation
}

/// Whether both names are there to be matched. A head without names is taken as it is, which may be wrong.
bool can_match(const std::vector<std::string>& from, const std::vector<std::string>& to, const std::string& origin) {
  if (from.empty() && !to.empty())
    log_warning("{}: the names of its classes are not known; its rows are taken to be {}, in this order", origin,
                fmt::join(to, ", "));
  return !from.empty() && !to.empty();
}

at::Tensor reordered(const at::Tensor& rows, const std::vector<int64_t>& order) {
  return rows.index_select(0, at::tensor(at::ArrayRef<int64_t>(order)).to(rows.device()));
}

}  // namespace

std::vector<std::string> model_labels(const std::filesystem::path& folder, std::optional<int64_t> outputs) {
  const std::filesystem::path file = folder / "config.json";
  const Json config = read_json_file<DataError>(file);
  if (!config.is_object())
    throw_error<DataError>("{}: found {}, expected an object", file.string(), config.type_name());
  const Json names = config.value("id2label", Json::object());
  std::vector<std::string> labels;
  if (!names.is_object() || (outputs && static_cast<int64_t>(names.size()) != *outputs)) return {};
  bool made_up = true;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto name = names.find(std::to_string(i));
    if (name == names.end() || !name->is_string()) return {};
    labels.push_back(name->get<std::string>());
    made_up = made_up && labels.back() == fmt::format("LABEL_{}", i);
  }
  return made_up ? std::vector<std::string>() : labels;
}

std::vector<int64_t> match_labels(const std::vector<std::string>& from, const std::vector<std::string>& to,
                                  const std::string& origin) {
  std::vector<int64_t> order = permutation(from, to, [](const std::string& name) { return name; });
  if (order.empty()) order = permutation(from, to, lower_case);
  if (order.empty() && !to.empty()) {
    throw_error<DataError>("{}: the head has the labels {}; the data has {}", origin, fmt::join(from, ", "),
                           fmt::join(to, ", "));
  }
  return order;
}

void order_labels(Transformer& model, const std::vector<std::string>& from, const std::vector<std::string>& to,
                  const std::string& origin) {
  if (!can_match(from, to, origin)) return;
  const std::vector<int64_t> order = match_labels(from, to, origin);
  if (in_order(order)) return;
  for (const HeadLayer& layer : model.spec().head()) {
    if (!layer.to_labels) continue;
    model.for_tensors([&](const std::string& name, at::Tensor& tensor) {
      if (name == layer.module + ".weight" || name == layer.module + ".bias") tensor = reordered(tensor, order);
    });
  }
}

const TrainedLinear* labels_layer(const Transformer& model, Method& method) {
  for (const HeadLayer& layer : method.head() != nullptr ? *method.head() : model.spec().head()) {
    if (layer.to_labels) return method.trained_module(layer.module);
  }
  return nullptr;
}

bool trains_labels(const Transformer& model, Method& method) {
  const TrainedLinear* layer = labels_layer(model, method);
  return layer != nullptr && std::any_of(method.parameters().begin(), method.parameters().end(),
                                         [&](const Parameter& p) { return p.value.is_same(layer->weight_KOC); });
}

void order_labels(const Transformer& model, Method& method, int64_t k, const std::vector<std::string>& from,
                  const std::vector<std::string>& to, const std::string& origin) {
  const TrainedLinear* layer = labels_layer(model, method);
  if (layer == nullptr || !can_match(from, to, origin)) return;
  const std::vector<int64_t> order = match_labels(from, to, origin);
  if (in_order(order)) return;
  for (const at::Tensor& bank : {layer->weight_KOC, layer->bias_KO}) {
    if (!bank.defined()) continue;
    const at::Tensor rows = bank.detach()[k];
    rows.copy_(reordered(rows, order));
  }
}

}  // namespace peft
