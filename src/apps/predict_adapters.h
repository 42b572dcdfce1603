#pragma once
/// The adapters that answer, each on its network; adapters of one model share the network, and the texts where they read alike.

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "peft/data/dataset.h"
#include "peft/data/unlabelled.h"
#include "peft/interop/adapter_folder.h"
#include "peft/train/open_model.h"
#include "src/apps/trained_folder.h"

namespace peft {

/// Texts as some of the adapters read them: one tokenizer, task and length.
struct Reading {
  std::string key;  ///< of what must be equal
  TaskTexts texts;
  const Tokenizer* tokenizer = nullptr;
  TaskConfig lengths = {};
  EncodedSplit split = {};  ///< the rows at hand
  int64_t cut = 0;          ///< rows with a text that was too long, up to here
};

struct Predictor {
  TrainedFolder folder;
  OpenModel* network = nullptr;
  LoadedAdapter loaded = {};
  TaskInfo task = {};  ///< its name, objective and labels
  std::size_t reading = 0;
  int64_t nonfinite = 0;  ///< rows without a finite answer, up to here
};

/// What the command line says of all adapters.
struct PredictOptions {
  std::optional<std::string> model, task, dtype;
  std::optional<int64_t> max_length;
  std::string device = "auto";
};

class PredictAdapters {
 public:
  /// Throws DataError for bad folders, and ConfigError where an adapter would change a network that others share.
  PredictAdapters(const std::vector<std::string>& folders, const PredictOptions& options);

  std::vector<Reading>& readings() { return readings_; }
  std::vector<Predictor>& predictors() { return predictors_; }

 private:
  struct Network {
    std::string key;
    OpenModel open;
    std::string changed_by = {};  ///< the adapter that replaced tensors of it
  };
  Network& network_of(const TrainedFolder& folder, const PredictOptions& options);
  void add(const std::string& folder, const PredictOptions& options);
  std::size_t reading_of(const Predictor& predictor, const PredictOptions& options);

  std::deque<Network> networks_;
  std::vector<Reading> readings_;
  std::vector<Predictor> predictors_;
};

}  // namespace peft
