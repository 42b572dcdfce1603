/// test-score-many: the arguments of one peft-tool a line of stdin, as a JSON array (["score", "--metric", ...]). Many cases in one process:
/// loading LibTorch takes longer than scoring. Each is answered on stdout with what it prints, which may be several lines, and then a
/// line with its exit code and error: {"code": 0, "error": ""}.

#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "peft/base/error.h"
#include "peft/base/json.h"
#include "src/apps/main.h"
#include "src/apps/tool_aggregate.h"
#include "src/apps/tool_compare.h"
#include "src/apps/tool_score.h"

namespace {

int run(std::vector<std::string> arguments) {
  std::vector<char*> argv;
  for (auto& argument : arguments) argv.push_back(argument.data());
  const auto argc = static_cast<int>(argv.size());
  if (arguments.front() == "aggregate") return peft::tool_aggregate(argc, argv.data());
  if (arguments.front() == "compare") return peft::tool_compare(argc, argv.data());
  return peft::tool_score(argc, argv.data());
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    peft::Json end{{"code", 0}, {"error", ""}};
    try {
      end["code"] = run(peft::Json::parse(line).get<std::vector<std::string>>());
    } catch (const peft::Error& error) {
      end = {{"code", static_cast<int>(error.code())}, {"error", error.what()}};
    }
    peft::print_result(end.dump() + "\n");
  }
}
