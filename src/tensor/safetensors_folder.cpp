#include "peft/base/error.h"
#include "peft/base/json.h"
#include "peft/tensor/safetensors.h"
#include "safetensors_names.h"

namespace peft {
namespace {

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

bool is_plain_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && std::filesystem::path(name).filename() == name;
}

// An unreadable folder counts as one without the file: whoever opens the file next reports the reason.
bool is_there(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

bool has_pickles(const std::filesystem::path& folder) {
  std::error_code ignored;
  for (const auto& file : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = file.path().filename().string();
    if (name.starts_with("pytorch_model") && name.ends_with(".bin")) return true;
  }
  return false;
}

// Tensor name -> shard, from the index.
std::map<std::string, std::string> weight_map(const std::filesystem::path& index) {
  const Json json = read_json_file<DataError>(index);
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object()) {
    throw_error<DataError>("{}: weight_map: expected an object of tensor names and files", index.string());
  }
  std::map<std::string, std::string> shards;
  for (const auto& [name, shard] : json["weight_map"].items()) {
    if (!shard.is_string() || !is_plain_name(shard.get<std::string>())) {
      throw_error<DataError>("{}: weight_map: tensor {}: {}, expected the name of a file in the same folder",
                             index.string(), quoted_name(name), shard.dump());
    }
    shards.emplace(name, shard.get<std::string>());
  }
  return shards;
}

}  // namespace

ModelTensors::ModelTensors(const std::filesystem::path& folder) : folder_(folder) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored)) throw_error<DataError>("{}: no such folder", folder.string());
  if (is_there(folder / kSingle)) {
    files_.emplace_back(folder / kSingle);
    for (const auto& [name, unused] : files_[0].entries()) where_.emplace(name, 0);
    return;
  }
  const std::filesystem::path index = folder / kIndex;
  if (!is_there(index)) {
    if (has_pickles(folder)) {
      throw_error<DataError>("{}: {}", folder.string(), pickle_advice(folder / "pytorch_model*.bin", folder / kSingle));
    }
    throw_error<DataError>("{}: neither {} nor {}; it holds {}", folder.string(), kSingle, kIndex,
                           describe_folder(folder));
  }

  const auto shards = weight_map(index);
  std::map<std::string, std::size_t> places;  // shard -> position in files_, in the order of their names
  for (const auto& [name, shard] : shards) {
    if (!is_there(folder / shard)) {
      throw_error<DataError>("{}: shard {} is missing (it should hold tensor {})", index.string(), quoted_name(shard),
                             quoted_name(name));
    }
    places.emplace(shard, 0);
  }
  for (auto& [shard, place] : places) {
    place = files_.size();
    files_.emplace_back(folder / shard);
  }
  for (const auto& [name, shard] : shards) {
    if (!files_[places.at(shard)].entries().contains(name)) {
      throw_error<DataError>("{}: no tensor {}, which {} expects there", (folder / shard).string(), quoted_name(name),
                             kIndex);
    }
    where_.emplace(name, places.at(shard));
  }
}

std::vector<std::string> ModelTensors::names() const { return names_of(where_); }

const SafetensorsFile& ModelTensors::file_of(const std::string& name) const {
  const auto found = where_.find(name);
  if (found == where_.end()) throw DataError(no_such_tensor(folder_, name, names()));
  return files_[found->second];
}

const TensorEntry& ModelTensors::entry(const std::string& name) const { return file_of(name).entries().at(name); }

at::Tensor ModelTensors::tensor(const std::string& name) const { return file_of(name).tensor(name); }

}  // namespace peft
