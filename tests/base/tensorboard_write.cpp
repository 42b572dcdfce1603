// Writes the scalars of standard input into a folder, for tests/oracle/tensorboard_test.py. One line each: "start STEP"
// opens the next session, "TAG VALUE STEP" adds a scalar to it.
#include <iostream>
#include <memory>

#include "peft/base/error.h"
#include "peft/base/tensorboard.h"

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "usage: test-tensorboard-write FOLDER\n";
    return 2;
  }
  std::unique_ptr<peft::EventWriter> writer;
  for (std::string tag, value; std::cin >> tag >> value;) {
    if (tag == "start") {
      writer = std::make_unique<peft::EventWriter>(argv[1], std::stoll(value));
      continue;
    }
    int64_t step = 0;
    std::cin >> step;
    writer->add_scalar(tag, std::stod(value), step);
  }
  writer->flush();
  return 0;
} catch (const peft::Error& e) {
  std::cerr << e.what() << '\n';
  return static_cast<int>(e.code());
}
