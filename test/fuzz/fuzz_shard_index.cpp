// The index of shards that a server sends: whatever it holds, only plain file names come out.
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "weights/download.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    for (const std::string& name :
         llm::shards_of_index({reinterpret_cast<const char*>(data), size}, "index")) {
      LLM_ASSERT(name.find_first_of("/\\") == std::string::npos && name[0] != '.', "{}", name);
    }
  } catch (const llm::Error&) {  // refused, as it should be
  }
  return 0;
}
