// Metrics under a split policy, and MultiRC, whose questions it may tear apart: docs/tasks.md#split-policies.
#include "fixtures.h"
#include "peft/data/permutation.h"
#include "peft/data/report.h"

namespace peft {
namespace {

using Ids = std::vector<int64_t>;

class MultircPolicy : public FolderTest {
 protected:
  static Ids first_rows(const Ids& order, std::size_t n) { return {order.begin(), order.begin() + std::ptrdiff_t(n)}; }
  static Ids idx(const Dataset& dataset, const std::string& split) { return dataset.splits.at(split).idx; }
  /// Passages with two questions of two answers each; idx of questions and answers count on.
  void write_dev(int64_t passages) {
    std::string text;
    int64_t question = 0, answer = 0;
    for (int64_t p = 0; p < passages; ++p) {
      Json questions = Json::array();
      for (int q = 0; q < 2; ++q) {
        Json answers = Json::array();
        for (int a = 0; a < 2; ++a)
          answers.push_back({{"text", "a" + std::to_string(answer)}, {"idx", answer}, {"label", answer % 2}}), ++answer;
        questions.push_back({{"question", "q"}, {"idx", question++}, {"answers", answers}});
      }
      text += Json{{"idx", p + 10}, {"passage", {{"text", "t"}, {"questions", questions}}}}.dump() + "\n";
    }
    write("MultiRC/val.jsonl", text);
  }
};

TEST_F(MultircPolicy, AnswersAreTornApartAndHaveNoExactMatch) {
  write_dev(5);
  data.split.policy = "dept";
  const Dataset dataset = load("multirc", {"dev", "test"});
  EXPECT_EQ(idx(dataset, "dev"), first_rows(permutation(20, 42), 10));
  EXPECT_EQ(dataset.task.metrics, (std::vector<std::string>{"multirc_f1a", "multirc_f1m"}));
  EXPECT_EQ(dataset.splits.at("dev").groups[0], dataset.splits.at("dev").example_outer_idx(0)[1]);
}

TEST_F(MultircPolicy, PassagesStayWholeWhereTheConfigSaysSo) {
  write_dev(5);
  data.split.policy = "dept";
  data.split.dept_group_multirc = true;
  const Dataset dataset = load("multirc", {"dev", "test"});
  const Ids order = permutation(5, 42);
  Ids expected;
  for (const int64_t passage : first_rows(order, 2))
    for (int64_t a = 0; a < 4; ++a) expected.push_back(passage * 4 + a);
  EXPECT_EQ(idx(dataset, "dev"), expected);
  EXPECT_EQ(dataset.splits.at("test").size(), 12);
  EXPECT_EQ(dataset.task.metrics, (std::vector<std::string>{"multirc_f1a", "multirc_em", "multirc_f1m"}));
  EXPECT_EQ(describe_policy(dataset)["dept_group_multirc"], true);
  write("MultiRC/val.jsonl", R"({"paragraph": "p", "question": "q", "answer": "a", "label": 1})"
                             "\n");
  EXPECT_NE(failure("multirc", {"dev"}), "");
}

TEST_F(MultircPolicy, MetricsOfTheReferenceCodeOnlyWhereTheyApply) {
  write_dev(5);
  data.split.policy = "dept";
  data.split.compat = "dept";
  EXPECT_EQ(load("multirc", {"dev"}).task.metrics, std::vector<std::string>{"f1"});
  EXPECT_EQ(describe_policy(load("multirc", {"dev"}))["compat"], Json({"dept_metrics"}));
  data.split.dept_metrics = false;
  EXPECT_EQ(load("multirc", {"dev"}).task.metrics.front(), "multirc_f1a") << "the key wins over compat";
  EXPECT_FALSE(describe_policy(load("multirc", {"dev"})).contains("compat"));
  data.split.dept_metrics.reset();
  data.split.policy = "official";
  EXPECT_EQ(load("multirc", {"dev"}).task.metrics.front(), "multirc_f1a") << "nothing is torn";
  data.split.dept_metrics = true;
  EXPECT_NE(failure<ConfigError>("multirc", {"dev"}).find("data.dept_metrics: multirc has the same"),
            std::string::npos);
}

TEST_F(MultircPolicy, CbIsSelectedByAllClassesInTheReferenceCode) {
  std::string rows;
  for (int i = 0; i < 6; ++i)
    rows += Json{{"premise", "p"}, {"hypothesis", "h"}, {"label", i % 2 == 0 ? "neutral" : "entailment"}, {"idx", i}}
                .dump() +
            "\n";
  write("CB/train.jsonl", rows);
  EXPECT_EQ(load("cb").task.metrics, (std::vector<std::string>{"macro_f1", "accuracy"}));
  data.split.dept_metrics = true;
  EXPECT_EQ(load("cb").task.metrics, (std::vector<std::string>{"macro_f1_all", "macro_f1", "accuracy"}));
}

}  // namespace
}  // namespace peft
