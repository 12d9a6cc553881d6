#include "text/tokenizer_facts.h"

#include <fmt/format.h>

#include <utility>

#include "base/error.h"
#include "text/unicode.h"

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

TokenizerFacts parse_tokenizer_config(std::string_view text, const std::string& where) {
  const Json json = parse_json(text, where, kTokenizerFactLimits);
  const JsonObject config(json, where);
  TokenizerFacts facts;
  facts.bos = token_text(config, "bos_token");
  facts.eos = token_text(config, "eos_token");
  facts.unk = token_text(config, "unk_token");
  facts.pad = token_text(config, "pad_token");
  if (config.has("chat_template")) {
    facts.chat_template = config.value("chat_template");
    facts.chat_template_file = where;
  }
  if (config.has("chat_template_name")) {
    facts.chat_template_name = config.text("chat_template_name");
  }
  return facts;
}

TokenizerFacts read_tokenizer_facts(const fs::path& directory) {
  TokenizerFacts facts;
  std::error_code error;
  if (const fs::path path = directory / kTokenizerConfigFile; fs::exists(path, error)) {
    facts =
        parse_tokenizer_config(read_text_file(path, kTokenizerFactLimits.max_bytes), path.string());
  }
  if (const fs::path path = directory / "chat_template.jinja"; fs::exists(path, error)) {
    std::string jinja = read_text_file(path, kTokenizerFactLimits.max_bytes);
    if (const size_t valid = valid_utf8_prefix(jinja); valid < jinja.size()) {
      fail_input(path.string(), fmt::format("byte {} is no UTF-8", with_commas(valid)),
                 "damaged? take a fresh copy");
    }
    facts.chat_template = std::move(jinja);
    facts.chat_template_file = path;
  }
  return facts;
}

}  // namespace llm
