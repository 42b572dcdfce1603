#include "peft/tensor/safetensors.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>

#include "peft/base/error.h"
#include "tests/tensor/safetensors_bytes.h"

namespace peft {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using testing::StartsWith;

std::filesystem::path fresh_folder() {
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  const auto folder =
      std::filesystem::path(testing::TempDir()) / "peft_safetensors" / test->test_suite_name() / test->name();
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

void write_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

template <class E = DataError>
std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const E& e) {
    EXPECT_THAT(e.what(), testing::Not(HasSubstr("\n")));
    return e.what();
  }
  return "no error";
}

bool same(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() && (a.numel() == 0 || a.equal(b));
}

at::Tensor random_tensor(at::IntArrayRef shape, at::ScalarType type) {
  const at::Tensor numbers = at::randint(0, 100, shape, at::kLong);
  return type == at::kBool ? numbers.remainder(2).to(type) : numbers.to(type);
}

TEST(Safetensors, EveryDtypeAndOddShapesComeBack) {
  at::manual_seed(1);
  std::map<std::string, at::Tensor> tensors;
  for (const auto type : {at::kBool, at::kByte, at::kChar, at::kShort, at::kUInt16, at::kHalf, at::kBFloat16, at::kInt,
                          at::kUInt32, at::kFloat, at::kComplexFloat, at::kDouble, at::kLong, at::kUInt64}) {
    const std::vector<std::vector<int64_t>> shapes = {{}, {0}, {1}, {3}, {5, 7}, {3, 0, 2}, {1, 1, 3, 1, 1}};
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      tensors[fmt::format("{}.{}", c10::toString(type), i)] = random_tensor(shapes[i], type);
    }
  }
  const auto path = fresh_folder() / "x.safetensors";
  write_safetensors(path, tensors, {{"note", "ünï"}});
  const SafetensorsFile file(path);
  EXPECT_EQ(file.entries().size(), tensors.size());
  EXPECT_THAT(file.metadata(), ElementsAre(Pair("format", "pt"), Pair("note", "ünï")));
  for (const auto& [name, tensor] : tensors) EXPECT_TRUE(same(file.tensor(name), tensor)) << name;
}

TEST(Safetensors, WritesTheReferenceLayout) {
  const auto path = fresh_folder() / "x.safetensors";
  write_safetensors(
      path, {{"a", at::ones({1}, at::kByte)}, {"b", at::zeros({2}, at::kFloat)}, {"c", at::zeros({}, at::kLong)}});
  std::ifstream in(path, std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(in), {});
  const std::string json =
      R"({"__metadata__":{"format":"pt"},"c":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"F32","shape":[2],"data_offsets":[8,16]},"a":{"dtype":"U8","shape":[1],"data_offsets":[16,17]}})";
  const std::string padded = json + std::string((8 - json.size() % 8) % 8, ' ');
  EXPECT_EQ(bytes, safetensors_bytes(padded, std::string(16, '\0') + "\x01"));
}

TEST(Safetensors, ViewsKeepTheMapAliveAndPointIntoIt) {
  const auto path = fresh_folder() / "x.safetensors";
  const at::Tensor numbers = at::arange(1000, at::kFloat);
  write_safetensors(path, {{"a", numbers}});
  at::Tensor view, again;
  {
    const SafetensorsFile file(path);
    view = file.tensor("a");
    again = file.tensor("a");
  }
  EXPECT_EQ(view.const_data_ptr(), again.const_data_ptr());
  EXPECT_TRUE(same(view, numbers));
  EXPECT_FALSE(view.requires_grad());
}

TEST(Safetensors, UnalignedDataIsCopied) {
  const auto path = fresh_folder() / "x.safetensors";
  const float values[] = {1.5f, -2.0f};
  std::string data(1, '\x07');
  data.append(reinterpret_cast<const char*>(values), sizeof values);
  write_bytes(path, safetensors_bytes(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                                      R"("b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}})",
                                      data));
  const at::Tensor b = SafetensorsFile(path).tensor("b");
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(b.const_data_ptr()) % 4, 0u);
  EXPECT_TRUE(same(b, at::tensor({1.5f, -2.0f})));
}

TEST(Safetensors, WritesViewsAsTheirValues) {
  const auto path = fresh_folder() / "x.safetensors";
  const at::Tensor base = at::arange(12, at::kFloat).view({3, 4});
  const at::Tensor complex = at::complex(at::rand({3}), at::rand({3}));
  const std::map<std::string, at::Tensor> tensors = {{"transposed", base.t()},
                                                     {"row", base[1]},
                                                     {"expanded", base[0].expand({5, 4})},
                                                     {"conjugate", complex.conj()},
                                                     {"trained", base.clone().requires_grad_()}};
  write_safetensors(path, tensors);
  const SafetensorsFile file(path);
  for (const auto& [name, tensor] : tensors) EXPECT_TRUE(same(file.tensor(name), tensor.detach())) << name;
}

TEST(Safetensors, MissingTensorSuggestsTheNearestName) {
  const auto path = fresh_folder() / "x.safetensors";
  write_safetensors(path, {{"layer.weight", at::zeros({1})}});
  EXPECT_THAT(
      message_of([&] { SafetensorsFile(path).tensor("layer.weigth"); }),
      AllOf(StartsWith(path.string() + ": no tensor \"layer.weigth\""), HasSubstr("did you mean \"layer.weight\"?")));
}

TEST(Safetensors, DtypesWithoutTensorTypeAreNamed) {
  const auto path = fresh_folder() / "x.safetensors";
  write_bytes(path, safetensors_bytes(R"({"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}})", "ab"));
  const SafetensorsFile file(path);
  EXPECT_THAT(message_of([&] { file.tensor("a"); }), HasSubstr("tensor \"a\": dtype F8_E4M3 is not supported"));
}

TEST(Safetensors, BoolBytesMustBeZeroOrOne) {
  const auto path = fresh_folder() / "x.safetensors";
  write_bytes(path, safetensors_bytes(R"({"a":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}})", "\x01\x02"));
  EXPECT_THAT(message_of([&] { SafetensorsFile(path).tensor("a"); }), HasSubstr("BOOL bytes other than 0 and 1"));
}

TEST(Safetensors, MissingFilesAndFoldersAreDataErrors) {
  const auto folder = fresh_folder();
  EXPECT_THAT(message_of([&] { SafetensorsFile(folder / "none.safetensors"); }), HasSubstr("none.safetensors"));
  EXPECT_THAT(message_of([&] { SafetensorsFile{folder}; }), HasSubstr(folder.string()));
  write_bytes(folder / "empty.safetensors", "");
  EXPECT_THAT(message_of([&] { SafetensorsFile(folder / "empty.safetensors"); }), HasSubstr("0 bytes"));
}

TEST(Safetensors, RefusesToWriteWhatTheFormatCannotHold) {
  const auto path = fresh_folder() / "x.safetensors";
  const auto refusal = [&](const std::string& name, const at::Tensor& tensor) {
    return message_of<Error>([&] { write_safetensors(path, {{name, tensor}}); });
  };
  EXPECT_THAT(refusal("a", at::Tensor()), HasSubstr("tensor \"a\": undefined"));
  EXPECT_THAT(refusal("a", at::zeros({2}, at::kComplexDouble)), HasSubstr("safetensors has no dtype ComplexDouble"));
  EXPECT_THAT(refusal("a", at::zeros({2, 2}).to_sparse()), HasSubstr("not a dense tensor"));
  EXPECT_THAT(refusal("__metadata__", at::zeros({2})), HasSubstr("reserved"));
  EXPECT_THAT(refusal("\xff", at::zeros({2})), HasSubstr("not UTF-8"));
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(Safetensors, FullDiskKeepsTheOldFile) {
  const auto folder = fresh_folder();
  const auto path = folder / "x.safetensors";
  const at::Tensor old = at::arange(8, at::kFloat);
  write_safetensors(path, {{"a", old}});

  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const rlimit tight{64 << 10, old_limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tight), 0);
  const std::string message = message_of<Error>([&] { write_safetensors(path, {{"a", at::zeros({1 << 20})}}); });
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  std::signal(SIGXFSZ, old_handler);

  EXPECT_THAT(message, HasSubstr("x.safetensors"));
  EXPECT_TRUE(same(SafetensorsFile(path).tensor("a"), old));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator()), 1);
}

TEST(ModelTensors, ReadsASingleFile) {
  const auto folder = fresh_folder();
  write_safetensors(folder / "model.safetensors", {{"b", at::ones({2})}, {"a", at::zeros({3})}});
  const ModelTensors model(folder);
  EXPECT_THAT(model.names(), ElementsAre("a", "b"));
  EXPECT_TRUE(model.contains("a"));
  EXPECT_FALSE(model.contains("c"));
  EXPECT_TRUE(same(model.tensor("b"), at::ones({2})));
  EXPECT_THAT(model.entry("a").shape, ElementsAre(3));
  EXPECT_EQ(model.files().size(), 1u);
  EXPECT_THAT(message_of([&] { model.tensor("c"); }), AllOf(HasSubstr(folder.string()), HasSubstr("no tensor \"c\"")));
  EXPECT_THAT(message_of([&] { model.entry("c"); }), HasSubstr("no tensor \"c\""));
}

class Shards : public testing::Test {
 protected:
  Shards() : folder(fresh_folder()) {
    write_safetensors(folder / "model-00001-of-00002.safetensors",
                      {{"a", at::zeros({3})}, {"unlisted", at::zeros({1})}});
    write_safetensors(folder / "model-00002-of-00002.safetensors", {{"b", at::ones({2})}});
  }
  void index(const std::string& json) const { write_bytes(folder / "model.safetensors.index.json", json); }
  std::string refusal() const {
    return message_of([&] { ModelTensors{folder}; });
  }
  std::filesystem::path folder;
};

TEST_F(Shards, AreReadThroughTheIndexWithoutItsMetadata) {
  index(R"({"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}})");
  const ModelTensors model(folder);
  EXPECT_THAT(model.names(), ElementsAre("a", "b"));  // the map is authoritative
  EXPECT_TRUE(same(model.tensor("a"), at::zeros({3})));
  EXPECT_TRUE(same(model.tensor("b"), at::ones({2})));
  EXPECT_EQ(model.files().size(), 2u);
}

TEST_F(Shards, ASingleFileBesideTheIndexWins) {
  index(R"({"weight_map":{"a":"gone.safetensors"}})");
  write_safetensors(folder / "model.safetensors", {{"c", at::zeros({1})}});
  EXPECT_THAT(ModelTensors(folder).names(), ElementsAre("c"));
}

TEST_F(Shards, MissingShardIsNamed) {
  index(R"({"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00003-of-00002.safetensors"}})");
  EXPECT_THAT(refusal(), AllOf(HasSubstr("index.json: shard \"model-00003-of-00002.safetensors\" is missing"),
                               HasSubstr("\"b\"")));
}

TEST_F(Shards, TensorAbsentFromItsShardIsNamed) {
  index(R"({"weight_map":{"a":"model-00002-of-00002.safetensors"}})");
  EXPECT_THAT(
      refusal(),
      HasSubstr("model-00002-of-00002.safetensors: no tensor \"a\", which model.safetensors.index.json expects"));
}

TEST_F(Shards, MalformedIndexIsRefused) {
  for (const char* json :
       {"{}", "[]", R"({"weight_map":[]})", R"({"weight_map":{"a":1}})", R"({"weight_map":{"a":"../x"}})",
        R"({"weight_map":{"a":"/etc/x"}})", R"({"weight_map":{"a":""}})", R"({"weight_map":{"a":".."}})"}) {
    index(json);
    EXPECT_THAT(refusal(), HasSubstr("model.safetensors.index.json: weight_map: ")) << json;
  }
  index("{");
  EXPECT_THAT(refusal(), HasSubstr("model.safetensors.index.json"));
}

TEST(ModelTensors, FolderOfPicklesIsRefusedWithAdvice) {
  for (const char* name : {"pytorch_model.bin", "pytorch_model-00001-of-00002.bin"}) {
    const auto folder = fresh_folder();
    write_bytes(folder / name, "\x80\x02");
    EXPECT_THAT(message_of([&] { ModelTensors{folder}; }),
                AllOf(StartsWith(folder.string() + ": pickle files are not opened; convert with: python -c"),
                      HasSubstr("/'pytorch_model*.bin")));
  }
}

TEST(ModelTensors, OtherFoldersSayWhatTheyHold) {
  const auto folder = fresh_folder();
  write_bytes(folder / "vocab.txt", "a\n");
  EXPECT_THAT(message_of([&] { ModelTensors{folder}; }), HasSubstr("it holds vocab.txt"));
  EXPECT_THAT(message_of([&] { ModelTensors{folder / "none"}; }), HasSubstr("no such folder"));
}

}  // namespace
}  // namespace peft
