// llm check on any backend.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"

namespace llm {

struct CheckArguments {
  std::vector<std::string> ops;  // none: all
  std::string device, attention = "auto";
  std::optional<int64_t> seed;
  int repeats = 0;  // calls of each case; 0: as many as are usual
  bool quick = false, verbose = false, json = false;
};

// Prints the table. Throws Error{numerics} if an op fails, Error{usage} if there is no such op.
void run_check(Backend& backend, const CheckArguments& arguments);

}  // namespace llm
