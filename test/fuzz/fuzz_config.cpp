// Any text as config.json: refused, or a config that can be written and read again.
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "model/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  llm::ModelConfig config;
  try {
    config = llm::from_hugging_face(llm::parse_json(text, "input"), "input");
  } catch (const llm::Error&) {
    return 0;
  }
  const llm::Json json = llm::to_hugging_face(config);
  LLM_ASSERT(llm::to_hugging_face(llm::from_hugging_face(json, "written")) == json);
  LLM_ASSERT(llm::parameter_count(config) > 0);
  return 0;
}
