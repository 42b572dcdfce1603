#pragma once
/// Where a pretrained model lies: in the folder that is named, or in the cache that Hugging Face's tools fill. Nothing is downloaded.

#include <filesystem>
#include <optional>
#include <string>

namespace peft {

/// $HF_HUB_CACHE, else $HF_HOME/hub, else $XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub.
std::filesystem::path model_cache();

/// The snapshot of the branch "main" of "ORGANISATION/NAME" or "NAME" in the cache, or nothing.
std::optional<std::filesystem::path> cached_model(const std::string& name);

/// What to say of a name that is in neither place: the cache, that nothing is downloaded, the command that fetches it. Of a path that is
/// no such name: nothing.
std::string fetching_hint(const std::string& name);

/// `name` where something lies there, else its snapshot in the cache. Throws DataError that says what was tried.
std::filesystem::path find_model_folder(const std::string& name);

}  // namespace peft
