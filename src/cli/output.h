// What the commands write to standard output.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/json.h"

namespace llm {

// Writes the text at once, so that a pipe gets it now. Throws Error{disk}.
void print(std::string_view text);

// One line. Throws Error{disk}.
void print_json(const Json& figures);

// Throws Error{usage} if one of these files is in the folder already, unless `force` is given.
void require_no_files(const fs::path& folder, std::initializer_list<const char*> names, bool force);

// "1 document", "2 documents".
std::string counted(int64_t count, std::string_view what);

}  // namespace llm
