// Conversations from JSON lists and JSONL. The first byte chooses how the bytes arrive; the result
// must not depend on that, and what was read must read back after it was written.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/instructions.h"
#include "support/byte_source.h"

namespace {

// Every conversation as JSON, one per line.
std::string written(const llm::Conversations& read) {
  std::string lines;
  for (const llm::Conversation& conversation : read.all) {
    lines += llm::to_line(llm::conversation_json(conversation)) + "\n";
  }
  return lines;
}

// What was read and what was said about it, in one string.
std::string read_all(std::string_view bytes, size_t step) {
  try {
    const llm::Conversations read =
        llm::read_conversations(llm::test::source_of(std::string(bytes), step), "fuzz", true);
    const std::string lines = written(read);
    const llm::Conversations again =
        llm::read_conversations(llm::test::source_of(lines, 1 << 16), "again");
    if (written(again) != lines) __builtin_trap();
    std::string result = lines + std::to_string(read.bad.count());
    for (const std::string& bad : read.bad.first()) result += bad;
    return result;
  } catch (const llm::Error& error) {
    if (error.where().starts_with("again")) __builtin_trap();
    return error.what();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string in_pieces = read_all(bytes, size_t{data[0]} + 1);
  const std::string at_once = read_all(bytes, std::max<size_t>(bytes.size(), 1));
  if (in_pieces != at_once && in_pieces.find("fuzz: is ") == std::string::npos &&
      at_once.find("fuzz: is ") == std::string::npos) {
    __builtin_trap();
  }
  return 0;
}
