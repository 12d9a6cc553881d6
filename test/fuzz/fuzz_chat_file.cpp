// llm_chat.json: refused with Error, or read as a template whose name stands for it.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  llm::ChatTemplate format{};
  try {
    format = llm::parse_chat_file(text, llm::kChatFile);
  } catch (const llm::Error&) {
    return 0;
  }
  LLM_ASSERT(llm::chat_template_named(std::string(llm::chat_template_name(format))) == format);
  return 0;
}
