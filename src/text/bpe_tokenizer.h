// The byte-level BPE tokenizer: special tokens, then pieces by the split pattern, then merges.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/json.h"
#include "text/bpe.h"
#include "text/pre_tokenizer.h"
#include "text/special_tokens.h"
#include "text/tokenizer.h"

namespace llm {

// A token outside the merges. One that is not `special` is found in every text, as Hugging Face
// does; a special one only where encode() allows it.
struct AddedToken {
  std::string text;
  TokenId id = 0;
  bool special = true;
};

// Everything that decides what a BPE tokenizer does.
struct BpeSpec {
  std::vector<std::string> tokens;  // the bytes of each id, added tokens included
  std::vector<BpeMerge> merges;     // by rank
  std::vector<AddedToken> added;    // by id
  std::string pattern;              // empty: each run of valid UTF-8 is one piece
  bool add_prefix_space = false;    // a space before a text that begins without one
  bool ignore_merges = false;       // a piece that is a token is that token, whatever the merges
  Json post_processor;              // kept for save(); adds nothing to what encode() gives
};

class BpeTokenizer final : public Tokenizer {
 public:
  // Throws Error{input} at `where` if the parts do not fit together.
  BpeTokenizer(BpeSpec spec, const std::string& where);
  ~BpeTokenizer() override;

  using Tokenizer::encode;
  void encode(std::string_view text, std::vector<TokenId>& ids, bool allow_special) const override;
  void encode_parallel(std::string_view text, std::vector<TokenId>& ids, int threads,
                       bool allow_special) const override;
  size_t encode_prefix(std::string_view text, std::vector<TokenId>& ids, int threads,
                       bool allow_special) const override;
  std::string_view token_bytes(TokenId id) const override;
  int64_t vocab_size() const override { return static_cast<int64_t>(spec_.tokens.size()); }
  std::span<const SpecialToken> special_tokens() const override { return specials_; }
  std::optional<TokenId> end_of_text() const override { return end_of_text_; }
  // Lets the special token of this text end texts where <|endoftext|> is none; nothing if there is
  // no such token.
  void end_texts_with(std::string_view special);
  std::string kind() const override { return "bpe"; }
  std::string hash() const override;
  void save(const fs::path& directory) const override;

  const BpeSpec& spec() const { return spec_; }

 private:
  struct Scratch;
  class EncodingSink;
  std::unique_ptr<Scratch> take_scratch() const;
  void return_scratch(std::unique_ptr<Scratch> scratch) const;

  void check(const std::string& where) const;
  void encode_piece(std::string_view piece, Scratch& scratch, std::vector<TokenId>& ids) const;
  // Text without added tokens. Returns the bytes covered: all of them unless open.
  size_t encode_ordinary(std::string_view text, bool open, int threads,
                         std::vector<TokenId>& ids) const;
  size_t encode_windows(std::string_view text, bool open, int threads,
                        std::vector<TokenId>& ids) const;
  size_t encode_all(std::string_view text, bool open, int threads, bool allow_special,
                    std::vector<TokenId>& ids) const;

  BpeSpec spec_;
  std::vector<bool> is_added_;  // by id
  std::unique_ptr<Bpe> bpe_;
  std::unique_ptr<PreTokenizer> pre_tokenizer_;
  std::unordered_map<std::string_view, TokenId> whole_pieces_;  // with ignore_merges
  SpecialTokenFinder all_added_, always_found_;
  std::vector<SpecialToken> specials_;
  std::optional<TokenId> end_of_text_;

  mutable std::mutex scratch_mutex_;
  mutable std::vector<std::unique_ptr<Scratch>> idle_scratch_;
};

}  // namespace llm
