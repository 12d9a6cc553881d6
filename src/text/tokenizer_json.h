// The files of tokenizers, in memory: Hugging Face's tokenizer.json, vocab.json and merges.txt.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "text/bpe_tokenizer.h"
#include "text/tokenizer.h"

namespace llm {

// A tokenizer from the text of a tokenizer.json: byte-level BPE (also `bytes`, which is BPE without
// merges) or a WordLevel model of single characters (`chars`). What would change the ids and is not
// supported (normalizers, dropout, other models and pre-tokenizers) is refused, not ignored. Throws
// Error{input} at `where`.
std::unique_ptr<Tokenizer> tokenizer_from_json(std::string_view json, const std::string& where);

// A GPT-2 tokenizer from its two files; <|endoftext|> is special if the vocabulary has it. The
// pattern is GPT-2's. Throws Error{input}.
std::unique_ptr<Tokenizer> tokenizer_from_vocab_and_merges(std::string_view vocab,
                                                           const std::string& vocab_where,
                                                           std::string_view merges,
                                                           const std::string& merges_where);

// The files of a BPE tokenizer.
std::string bpe_to_json(const BpeSpec& spec);
std::string bpe_to_vocab_json(const BpeSpec& spec);
std::string bpe_to_merges_text(const BpeSpec& spec);

}  // namespace llm
