// Documents -> one sequence of token ids, encoded in parallel in memory that does not grow with the
// documents.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace llm {

class DocumentEncoder {
 public:
  using Sink = std::function<void(std::span<const TokenId>)>;

  // Ids go to `sink` in order, with end-of-text between documents where the tokenizer has one. The
  // ids of a document are those of encoding it in one go. batch_bytes: text gathered before it is
  // encoded.
  DocumentEncoder(const Tokenizer& tokenizer, int threads, bool allow_special, Sink sink,
                  size_t batch_bytes = size_t{8} << 20);

  // A part of the current document; parts must end between characters. Throws Error{input} for a
  // text that the tokenizer cannot cut anywhere within kMaxUncut bytes.
  void add(std::string_view part);
  void end_document();
  // Encodes what is still gathered. No document may be open.
  void finish();

  static constexpr size_t kMaxUncut = size_t{1} << 27;

 private:
  void encode_gathered();
  void encode_open_prefix();
  void begin_document();
  void emit();

  const Tokenizer& tokenizer_;
  int threads_;
  bool allow_special_;
  Sink sink_;
  size_t batch_bytes_;

  std::vector<std::string> gathered_;  // whole documents
  size_t gathered_bytes_ = 0;
  std::string open_;           // what is not yet encoded of the current document
  size_t open_limit_;          // length at which that is tried
  bool open_begun_ = false;    // whether ids of the current document went out already
  bool any_document_ = false;  // whether end-of-text is due before the next one
  std::vector<TokenId> ids_;
};

}  // namespace llm
