// Text <-> token ids. Every tokenizer decodes what it encoded to the exact same bytes, whatever the
// bytes are.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace llm {

using TokenId = int32_t;

struct SpecialToken {
  std::string text;
  TokenId id;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Appends the ids of `text` to `ids`. Special tokens in the text are ordinary text unless
  // allow_special. Safe to call from several threads at once. Any bytes are accepted; a `chars`
  // tokenizer throws Error{input} for a character it does not know, naming it.
  virtual void encode(std::string_view text, std::vector<TokenId>& ids,
                      bool allow_special = false) const = 0;
  std::vector<TokenId> encode(std::string_view text, bool allow_special = false) const;

  // Appends the same ids as encode(), found by up to `threads` threads where the text is large.
  virtual void encode_parallel(std::string_view text, std::vector<TokenId>& ids, int threads,
                               bool allow_special = false) const;
  // For text that arrives in parts: appends the ids of the longest prefix of `text` that no text
  // after it can change, and returns the length of that prefix in bytes. Put the next part behind
  // the rest and call again; encode_parallel() takes the last rest. The ids are those of the whole.
  virtual size_t encode_prefix(std::string_view text, std::vector<TokenId>& ids, int threads,
                               bool allow_special = false) const = 0;

  // The bytes of one token. Throws Error{usage} for an id outside [0, vocab_size()).
  virtual std::string_view token_bytes(TokenId id) const = 0;
  std::string decode(std::span<const TokenId> ids) const;

  virtual int64_t vocab_size() const = 0;
  virtual std::span<const SpecialToken> special_tokens() const = 0;
  // What separates documents and ends texts: the id of <|endoftext|>, or if the vocabulary has
  // none, of the special token that the folder's tokenizer_config.json names as eos_token.
  virtual std::optional<TokenId> end_of_text() const = 0;
  // "bpe", "bytes" or "chars".
  virtual std::string kind() const = 0;

  // SHA-256 over a canonical form of everything that decides encode(): two tokenizers with the same
  // hash give the same ids.
  virtual std::string hash() const = 0;
  // Writes the tokenizer's files (tokenizer.json, and for BPE vocab.json and merges.txt) such that
  // load_tokenizer(directory) gives the same tokenizer, and Hugging Face tokenizers does.
  virtual void save(const fs::path& directory) const = 0;
};

// `bytes`: 256 byte tokens and <|endoftext|> = 256.
std::unique_ptr<Tokenizer> make_byte_tokenizer();
// `chars`: one token per distinct code point of `text`, in code point order; an invalid byte counts
// as a character of its own. No end-of-text.
std::unique_ptr<Tokenizer> make_char_tokenizer(std::string_view text);
// The same from the set of characters, already collected by a streaming pass.
std::unique_ptr<Tokenizer> make_char_tokenizer(const std::vector<std::string>& characters);

// From a folder (tokenizer.json, else vocab.json + merges.txt). Throws Error{input}.
std::unique_ptr<Tokenizer> load_tokenizer(const fs::path& directory);
// What the option --tokenizer takes: a folder, or `bytes`, or `gpt2` (its files in tokenizer_dir),
// or the name of a downloaded model. `chars` depends on a text and is made by the caller. Throws
// Error{usage} with the choices.
std::unique_ptr<Tokenizer> open_tokenizer(const std::string& spec, const fs::path& tokenizer_dir);

// Tokenizer::encode_parallel into a new vector.
std::vector<TokenId> encode_parallel(const Tokenizer& tokenizer, std::string_view text,
                                     int threads);

}  // namespace llm
