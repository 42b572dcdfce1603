// For tests/oracle/python_regex_test.py: each line of standard input is ["pattern", "text"]; each line of the output is
// the answers of match and fullmatch, as "10", or "error".
#include <iostream>
#include <stdexcept>

#include "peft/base/json.h"
#include "peft/base/python_regex.h"

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    const peft::Json asked = peft::parse_json(line, "stdin");
    try {
      const peft::PythonRegex regex(asked.at(0).get<std::string>());
      const auto text = asked.at(1).get<std::string>();
      std::cout << regex.match(text) << regex.fullmatch(text) << '\n';
    } catch (const std::invalid_argument&) {
      std::cout << "error\n";
    }
  }
  return 0;
}
