// Any text as adapter_config.json: refused, or with ranks and scales that can be computed with.
#include <cmath>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "weights/adapter_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  llm::AdapterConfig config;
  try {
    config = llm::parse_adapter_config(llm::parse_json(text, "input"), "input");
  } catch (const llm::Error&) {
    return 0;
  }
  for (const char* module : {"transformer.h.0.attn.c_attn", "h.1.mlp.c_proj", "score", ""}) {
    LLM_ASSERT(config.rank_of(module) > 0);
    LLM_ASSERT(std::isfinite(config.scale_of(module)) && config.scale_of(module) > 0);
  }
  LLM_ASSERT(config.dropout >= 0 && config.dropout < 1);
  return 0;
}
