// manifest.json and train_state.json of a checkpoint: refused with Error, or read, and what is read
// is written and read again the same.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "train/checkpoint.h"

namespace {

template <typename Parse>
void check(std::string_view text, const Parse& parse) {
  std::string written;
  try {
    written = llm::to_line(llm::to_json(parse(text, "input")));
  } catch (const llm::Error&) {
    return;
  }
  LLM_ASSERT(llm::to_line(llm::to_json(parse(written, "again"))) == written);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check(text, llm::parse_manifest);
  check(text, llm::parse_train_state);
  return 0;
}
