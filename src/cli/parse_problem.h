// What the parser of the command line says, in plain words.
#pragma once

#include <string>

namespace llm {

// "--tokens: Value 1e3 not in range 1 to 9" -> "--tokens: 1e3 is not a whole number", and the like;
// what needs no other words stays.
std::string plain_problem(const std::string& problem);

}  // namespace llm
