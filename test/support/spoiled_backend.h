// The CPU backend with one op that is wrong on purpose: what checks have to find.
#pragma once

#include <memory>
#include <string>

#include "backend/backend.h"

namespace llm::test {

enum class Spoil {
  element,    // one element of the output is off
  beyond,     // a byte behind the output is written
  input,      // an input is changed
  not_twice,  // every other call gives other bits
  nothing,    // the op does nothing at all
};

// Spoils the first output that is given, on every call of `op` but those without elements.
std::unique_ptr<Backend> make_spoiled_backend(const std::string& op, Spoil spoil);

}  // namespace llm::test
