// tokenizer_config.json: refused with Error, or read as facts that are the same when read again.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "text/tokenizer_facts.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  llm::TokenizerFacts facts;
  try {
    facts = llm::parse_tokenizer_config(text, "tokenizer_config.json");
  } catch (const llm::Error&) {
    return 0;
  }
  const llm::Json json = {{"bos_token", facts.bos},
                          {"eos_token", {{"content", facts.eos}}},
                          {"unk_token", facts.unk},
                          {"pad_token", facts.pad},
                          {"chat_template", facts.chat_template}};
  const llm::TokenizerFacts again = llm::parse_tokenizer_config(json.dump(), "again");
  LLM_ASSERT(again.bos == facts.bos && again.eos == facts.eos && again.unk == facts.unk);
  LLM_ASSERT(again.pad == facts.pad && again.chat_template == facts.chat_template);
  return 0;
}
