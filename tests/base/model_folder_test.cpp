#include "peft/base/model_folder.h"

#include <gmock/gmock.h>

#include <array>
#include <cstdlib>
#include <optional>
#include <vector>

#include "peft/base/error.h"
#include "peft/base/files.h"
#include "tests/base/temporary_folder.h"

namespace peft {
namespace {

using testing::HasSubstr;

/// Variables that say where the cache is, put back afterwards.
class ModelFolder : public testing::Test {
 protected:
  ModelFolder() {
    for (const char* name : kNames) {
      const char* value = std::getenv(name);
      before_.push_back(value == nullptr ? std::nullopt : std::optional<std::string>(value));
      if (std::string(name) != "HOME") unsetenv(name);
    }
  }
  ~ModelFolder() override {
    for (std::size_t i = 0; i < before_.size(); ++i) {
      if (before_[i]) {
        setenv(kNames[i], before_[i]->c_str(), 1);
      } else {
        unsetenv(kNames[i]);
      }
    }
  }
  static void set(const char* name, const std::filesystem::path& path) { setenv(name, path.c_str(), 1); }

  /// A snapshot of a model in a cache.
  static std::filesystem::path fill(const std::filesystem::path& cache, const std::string& model) {
    write_atomic(cache / model / "refs" / "main", "0123abcd");
    write_atomic(cache / model / "snapshots" / "0123abcd" / "config.json", "{}");
    return cache / model / "snapshots" / "0123abcd";
  }

  static constexpr std::array kNames{"HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"};
  const TemporaryFolder folder_;
  std::vector<std::optional<std::string>> before_;
};

TEST_F(ModelFolder, TheCacheIsWhereTheVariablesSay) {
  set("HOME", "/home/someone");
  EXPECT_EQ(model_cache(), "/home/someone/.cache/huggingface/hub");
  set("XDG_CACHE_HOME", "/caches");
  EXPECT_EQ(model_cache(), "/caches/huggingface/hub");
  set("HF_HOME", "~/hf");
  EXPECT_EQ(model_cache(), "/home/someone/hf/hub");
  set("HF_HUB_CACHE", "/hub");
  EXPECT_EQ(model_cache(), "/hub");
}

TEST_F(ModelFolder, ANameIsItsSnapshotInTheCache) {
  set("HF_HUB_CACHE", folder_.path());
  const auto snapshot = fill(folder_.path(), "models--sentence-transformers--all-MiniLM-L6-v2");
  EXPECT_EQ(find_model_folder("sentence-transformers/all-MiniLM-L6-v2"), snapshot);
  const auto without_organisation = fill(folder_.path(), "models--bert-tiny");
  EXPECT_EQ(find_model_folder("bert-tiny"), without_organisation);
}

TEST_F(ModelFolder, AFolderComesFirst) {
  set("HF_HUB_CACHE", folder_.path());
  EXPECT_EQ(find_model_folder(folder_.path().string()), folder_.path());
}

TEST_F(ModelFolder, WhatIsNowhereSaysThatNothingIsDownloaded) {
  set("HF_HUB_CACHE", folder_.path());
  try {
    find_model_folder("org/name");
    FAIL();
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(),
                HasSubstr("org/name: no such folder; no model of this name lies in Hugging Face's cache " +
                          folder_.path().string()));
    EXPECT_THAT(error.what(), HasSubstr("nothing is downloaded here; to fetch one: hf download org/name"));
  }
  for (const char* path : {"/no/such/folder", "a/b/c", "../x", "./x"}) EXPECT_EQ(fetching_hint(path), "") << path;
}

TEST_F(ModelFolder, AReferenceWithoutItsSnapshotIsNoModel) {
  set("HF_HUB_CACHE", folder_.path());
  write_atomic(folder_.path() / "models--org--name" / "refs" / "main", "0123abcd");
  EXPECT_EQ(cached_model("org/name"), std::nullopt);
}

}  // namespace
}  // namespace peft
