#include "text/tokenizer_facts.h"

namespace llm {
namespace {

// A token is its text, or an object with the text as "content".
std::string token_text(const JsonObject& config, const char* key) {
  if (!config.has(key)) return {};
  const Json& token = config.value(key);
  if (token.is_string()) return token.get<std::string>();
  return config.object(key).text("content");
}

}  // namespace

TokenizerFacts read_tokenizer_facts(const fs::path& directory) {
  TokenizerFacts facts;
  std::error_code error;
  if (const fs::path path = directory / "tokenizer_config.json"; fs::exists(path, error)) {
    const Json json = read_json_file(path, kTokenizerFactLimits);
    const JsonObject config(json, path.string());
    facts.bos = token_text(config, "bos_token");
    facts.eos = token_text(config, "eos_token");
    facts.unk = token_text(config, "unk_token");
    facts.pad = token_text(config, "pad_token");
    if (config.has("chat_template")) {
      facts.chat_template = config.value("chat_template");
      facts.chat_template_file = path;
    }
  }
  if (const fs::path path = directory / "chat_template.jinja"; fs::exists(path, error)) {
    facts.chat_template = read_text_file(path, kTokenizerFactLimits.max_bytes);
    facts.chat_template_file = path;
  }
  return facts;
}

}  // namespace llm
