#include "peft/base/model_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>

#include "peft/base/error.h"
#include "peft/base/files.h"

namespace peft {
namespace {

namespace fs = std::filesystem;

/// A path of the environment, with ~ for the home folder; empty: not set.
fs::path from_environment(const char* variable) {
  const char* value = std::getenv(variable);
  const std::string text = value == nullptr ? "" : value;
  const char* home = std::getenv("HOME");
  if (home != nullptr && (text == "~" || text.starts_with("~/"))) return fs::path(home + text.substr(1));
  return text;
}

/// As the Hub allows them: letters, digits, "-", "_" and ".", in one part or two.
bool is_hub_name(const std::string& name) {
  const auto plain = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.' || c == '/';
  };
  return !name.empty() && std::isalnum(static_cast<unsigned char>(name.front())) != 0 && name.back() != '/' &&
         std::all_of(name.begin(), name.end(), plain) && std::count(name.begin(), name.end(), '/') <= 1 &&
         name.find("..") == std::string::npos;
}

}  // namespace

fs::path model_cache() {
  if (fs::path cache = from_environment("HF_HUB_CACHE"); !cache.empty()) return cache;
  if (const fs::path home = from_environment("HF_HOME"); !home.empty()) return home / "hub";
  if (const fs::path cache = from_environment("XDG_CACHE_HOME"); !cache.empty()) return cache / "huggingface" / "hub";
  return from_environment("HOME") / ".cache" / "huggingface" / "hub";
}

std::optional<fs::path> cached_model(const std::string& name) {
  if (!is_hub_name(name)) return std::nullopt;
  std::string folder = "models--" + name;
  if (const std::size_t slash = folder.find('/'); slash != std::string::npos) folder.replace(slash, 1, "--");
  const fs::path model = model_cache() / folder;
  std::string revision;
  std::ifstream(model / "refs" / "main") >> revision;
  if (revision.empty() || !path_exists(model / "snapshots" / revision)) return std::nullopt;
  return model / "snapshots" / revision;
}

std::string fetching_hint(const std::string& name) {
  if (!is_hub_name(name)) return "";
  return fmt::format(
      "no model of this name lies in Hugging Face's cache {} either, and nothing is downloaded here; to fetch one: hf "
      "download {}",
      model_cache().string(), name);
}

fs::path find_model_folder(const std::string& name) {
  if (path_exists(name)) return name;
  if (const auto cached = cached_model(name)) return *cached;
  const std::string hint = fetching_hint(name);
  throw_error<DataError>("{}: no such folder{}{}", name, hint.empty() ? "" : "; ", hint);
}

}  // namespace peft
