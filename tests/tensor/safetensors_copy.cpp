// Copies a safetensors file through the reader and the writer, for tests/oracle/safetensors_test.py.
#include <iostream>

#include "peft/base/error.h"
#include "peft/tensor/safetensors.h"

int main(int argc, char** argv) try {
  if (argc != 3) {
    std::cerr << "usage: test-safetensors-copy FROM TO\n";
    return 2;
  }
  const peft::SafetensorsFile from(argv[1]);
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, entry] : from.entries()) tensors.emplace(name, from.tensor(name));
  peft::write_safetensors(argv[2], tensors, from.metadata());
  return 0;
} catch (const peft::Error& e) {
  std::cerr << e.what() << '\n';
  return static_cast<int>(e.code());
}
