#pragma once
/// Adapter folders as Hugging Face peft reads and writes them, and model folders for full fine-tuning (docs/formats.md#adapter-folders).

#include <filesystem>
#include <string>
#include <vector>

#include "peft/methods/method.h"

namespace peft {

/// The adapter folder meant by `path`: itself when it holds adapter_config.json, else its best/, else its last/. Throws DataError that
/// says what the folder holds instead.
std::filesystem::path find_adapter(const std::filesystem::path& path);

/// Reads adapter_config.json and adapter_model.safetensors. Refuses pickle files (the error says how to convert) and a format_version
/// newer than ours.
AdapterFiles read_adapter(const std::filesystem::path& folder);

/// Tensors of a model folder that write_model_folder() wrote: PATH, PATH/best or PATH/last.
AdapterFiles read_model_folder(const std::filesystem::path& path);

/// Writes both files into a fresh folder and puts it in the place of `folder` in one step; sorted keys and names, so equal adapters
/// give equal bytes. Labels are metadata of adapter_model.safetensors.
void write_adapter(const std::filesystem::path& folder, const AdapterFiles& files);

/// A complete model folder: the source's config.json, its tokenizer files, and the tensors and labels of `files`.
void write_model_folder(const std::filesystem::path& folder, const AdapterFiles& files, const Transformer& model);

/// An adapter ready to evaluate: the method made for its shapes, loaded with its values as adapter 0. Tensors under names of the base
/// model overwrite it, as peft does, with a note; one of another shape is a DataError. `outputs` is read from the head's rows.
struct LoadedAdapter {
  std::unique_ptr<MethodConfig> config;
  std::unique_ptr<Method> method;
  HeadKind head = HeadKind::sequence;  ///< which the model must have in use
  int64_t outputs = 0;
  std::vector<std::string> labels = {};  ///< class id -> name; empty: the files do not tell
};
LoadedAdapter load_adapter(Transformer& model, const std::filesystem::path& path, const Tokenizer* tokenizer = nullptr);

}  // namespace peft
