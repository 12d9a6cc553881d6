// What the commands write to standard output.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"

namespace llm {

// Writes the text at once, so that a pipe gets it now. Throws Error{disk}.
void print(std::string_view text);

// One line. Throws Error{disk}.
void print_json(const Json& figures);

// "1 document", "2 documents".
std::string counted(int64_t count, std::string_view what);

}  // namespace llm
