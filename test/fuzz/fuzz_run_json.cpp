// run.json: refused with Error, or read, and what is read is written and read again the same.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "train/options.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  llm::RunDescription run;
  try {
    run = llm::parse_run_description(text, "run.json");
  } catch (const llm::Error&) {
    return 0;
  }
  const std::string written = llm::to_line(llm::to_json(run));
  const llm::RunDescription again = llm::parse_run_description(written, "again");
  LLM_ASSERT(llm::to_line(llm::to_json(again)) == written);
  return 0;
}
