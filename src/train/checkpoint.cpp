#include "peft/train/checkpoint.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "peft/base/error.h"
#include "peft/tensor/safetensors.h"

namespace peft {
namespace {

/// Everything that goes into the file, sharing memory with the bank.
std::map<std::string, at::Tensor> tensors_of(const Method& method, const Optimizer& optimizer, int64_t k) {
  auto tensors = optimizer.state(k);
  for (const Parameter& p : method.parameters()) tensors["parameter/" + p.name] = p.value.detach()[k];
  return tensors;
}

constexpr const char* kState = "state";
constexpr const char* kOfLongerRun = "state_of_longer_run";

std::optional<JobState> find_state(const SafetensorsFile& file, const char* name) {
  const std::string path = file.path().string();
  const auto metadata = file.metadata().find(name);
  if (metadata == file.metadata().end()) return std::nullopt;
  try {
    return JobState::from_json(parse_json(metadata->second, path), path);
  } catch (const std::invalid_argument& error) {
    throw DataError(error.what());
  }
}

JobState read_state(const SafetensorsFile& file) {
  const auto state = find_state(file, kState);
  if (!state) throw_error<DataError>("{}: no metadata \"{}\"", file.path().string(), kState);
  return *state;
}

}  // namespace

Json JobState::to_json() const {
  return {{"step", step},
          {"updates", updates},
          {"best_score", best_score ? Json(*best_score) : Json()},
          {"best_step", best_step},
          {"evaluations_without_better", evaluations_without_better},
          {"nonfinite_in_a_row", nonfinite_in_a_row},
          {"nonfinite_steps", nonfinite_steps},
          {"window_loss", window_loss},
          {"window_steps", window_steps},
          {"loss_sum", loss_sum},
          {"first_losses", first_losses},
          {"smoothed_loss", smoothed_loss},
          {"samples", samples},
          {"tokens", tokens},
          {"log_bytes", log_bytes},
          {"doctor", doctor}};
}

JobState JobState::from_json(const Json& json, const std::string& origin) {
  JobState state;
  try {
    json.at("step").get_to(state.step);
    json.at("updates").get_to(state.updates);
    if (!json.at("best_score").is_null()) state.best_score = json.at("best_score").get<double>();
    json.at("best_step").get_to(state.best_step);
    json.at("evaluations_without_better").get_to(state.evaluations_without_better);
    json.at("nonfinite_in_a_row").get_to(state.nonfinite_in_a_row);
    json.at("nonfinite_steps").get_to(state.nonfinite_steps);
    json.at("window_loss").get_to(state.window_loss);
    json.at("window_steps").get_to(state.window_steps);
    json.at("loss_sum").get_to(state.loss_sum);
    json.at("first_losses").get_to(state.first_losses);
    json.at("smoothed_loss").get_to(state.smoothed_loss);
    json.at("samples").get_to(state.samples);
    json.at("tokens").get_to(state.tokens);
    json.at("log_bytes").get_to(state.log_bytes);
    if (const auto doctor = json.find("doctor"); doctor != json.end()) state.doctor = *doctor;
  } catch (const Json::exception& error) {
    throw_error<DataError>("{}: metadata \"state\": {}", origin, error.what());
  }
  return state;
}

void save_checkpoint(const std::filesystem::path& file, const SavedState& saved, const Method& method,
                     const Optimizer& optimizer, int64_t k) {
  std::map<std::string, std::string> metadata{{kState, saved.state.to_json().dump()}};
  if (saved.of_longer_run) metadata[kOfLongerRun] = saved.of_longer_run->to_json().dump();
  write_safetensors(file, tensors_of(method, optimizer, k), metadata);
}

int64_t checkpoint_step(const std::filesystem::path& file) { return read_state(SafetensorsFile(file)).step; }

SavedState load_checkpoint(const std::filesystem::path& path, Method& method, Optimizer& optimizer, int64_t k) {
  const SafetensorsFile file(path);
  const auto targets = tensors_of(method, optimizer, k);
  SavedState counters{read_state(file), find_state(file, kOfLongerRun)};
  for (const auto& [name, target] : targets) {  // all checked before any is written
    const at::Tensor saved = file.tensor(name);
    if (saved.sizes() != target.sizes() || saved.scalar_type() != target.scalar_type()) {
      throw_error<DataError>("{}: tensor {} has shape [{}], expected [{}]", path.string(), name,
                             fmt::join(saved.sizes(), ", "), fmt::join(target.sizes(), ", "));
    }
  }
  for (const auto& [name, target] : targets) at::Tensor(target).copy_(file.tensor(name));
  return counters;
}

}  // namespace peft
