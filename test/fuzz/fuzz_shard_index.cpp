// Any text as the index of a sharded model: refused, or plain names of files in the folder.
#include <cstdint>

#include "base/error.h"
#include "weights/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    for (const auto& [shard, tensors] : llm::parse_shard_index(text, "input")) {
      const llm::fs::path path = llm::fs::path("folder") / shard;
      LLM_ASSERT(path.parent_path() == "folder" && path.lexically_normal() == path);
      LLM_ASSERT(path.extension() == ".safetensors" && !tensors.empty());
    }
  } catch (const llm::Error&) {
  }
  return 0;
}
