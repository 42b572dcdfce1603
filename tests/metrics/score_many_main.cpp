/// test-score-many: the arguments of one `peft-tool score` per line of stdin, as a JSON array; answers each with a line on stdout. Many
/// cases in one process: loading LibTorch takes longer than scoring.

#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "peft/base/json.h"
#include "src/apps/tool_score.h"

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    std::vector<std::string> arguments{"score"};
    for (const auto& argument : peft::Json::parse(line)) arguments.push_back(argument.get<std::string>());
    std::vector<char*> argv;
    for (auto& argument : arguments) argv.push_back(argument.data());
    if (const int status = peft::tool_score(static_cast<int>(argv.size()), argv.data()); status != 0) return status;
    std::fflush(stdout);
  }
}
