// What a folder says of its tokenizer beside the vocabulary, as transformers writes it:
// tokenizer_config.json, and chat_template.jinja in newer folders.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/json.h"

namespace llm {

inline constexpr const char* kTokenizerConfigFile = "tokenizer_config.json";

struct TokenizerFacts {
  std::string bos, eos, unk, pad;                 // the texts of these tokens; empty: not told
  Json chat_template;                             // Jinja text, or a list of several; null: none
  fs::path chat_template_file;                    // that tells it
  std::optional<std::string> chat_template_name;  // one of ours
};

// Of a folder without these files: nothing. Throws Error{input} for damaged ones.
TokenizerFacts read_tokenizer_facts(const fs::path& directory);
// Of the text of tokenizer_config.json; `where` is for messages.
TokenizerFacts parse_tokenizer_config(std::string_view text, const std::string& where);

// The limits of these files and of our own small ones beside them.
inline constexpr JsonLimits kTokenizerFactLimits = {
    .max_depth = 16, .max_bytes = 4 << 20, .max_values = 200'000};

}  // namespace llm
