// JSON: whatever the bytes, they are refused with Error or read, and what is read is written and
// read again as the same value.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "base/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  llm::JsonLimits limits;
  limits.max_depth = 20;
  limits.max_values = 10'000;
  llm::Json value;
  try {
    value = llm::parse_json(text, "input", limits);
  } catch (const llm::Error&) {
    return 0;
  }
  const llm::Json again = llm::parse_json(llm::to_line(value), "again", limits);
  LLM_ASSERT(llm::to_line(again) == llm::to_line(value));
  LLM_ASSERT(llm::parse_json(llm::to_pretty_text(value), "pretty", limits) == again);
  return 0;
}
