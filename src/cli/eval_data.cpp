#include "cli/eval_data.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/parallel.h"
#include "cli/output.h"
#include "data/corpus_reader.h"
#include "data/document_encoder.h"

namespace llm {
namespace {

std::vector<TokenId> encode_files(const std::string& path, const std::string& text_key,
                                  const Tokenizer& tokenizer) {
  const CorpusListing listing = list_corpus_files({path}, CorpusFormat::by_name);
  CorpusReader reader(listing.files, text_key, /*with_sha256=*/false);
  std::vector<TokenId> tokens;
  DocumentEncoder encoder(
      tokenizer, thread_count(), /*allow_special=*/false,
      [&](std::span<const TokenId> ids) { tokens.insert(tokens.end(), ids.begin(), ids.end()); });
  DocumentPart part;
  while (reader.next(part)) {
    with_where(path, [&] {
      encoder.add(part.text);
      if (part.last) encoder.end_document();
    });
  }
  with_where(path, [&] { encoder.finish(); });
  return tokens;
}

EvalData open_text(const std::string& path, const std::string& text_key,
                   const Tokenizer& tokenizer) {
  EvalData data;
  data.name = path;
  data.tokens = std::make_unique<std::vector<TokenId>>(encode_files(path, text_key, tokenizer));
  data.text.size = static_cast<int64_t>(data.tokens->size());
  data.text.read = [tokens = data.tokens.get()](int64_t begin, std::span<TokenId> into) {
    std::copy_n(tokens->begin() + begin, into.size(), into.begin());
  };
  return data;
}

EvalData open_tokens(const std::string& path, const std::string& split, const Tokenizer& tokenizer,
                     const ModelConfig& config, const std::string& model_name) {
  EvalData data;
  data.dataset = std::make_unique<Dataset>(open_dataset(path, config.vocab_size));
  require_same_tokenizer(*data.dataset, tokenizer.hash(), fmt::format("the model {}", model_name));
  const bool whole = data.dataset->directory.empty();
  data.name = whole ? path : fmt::format("{} ({})", path, split);
  const TokenSequence* sequence =
      whole || split == "train" ? &data.dataset->train : &data.dataset->val;
  data.text.size = sequence->size();
  data.text.read = [sequence](int64_t begin, std::span<TokenId> into) {
    sequence->read(begin, into);
  };
  return data;
}

}  // namespace

EvalData open_eval_data(const std::string& path, const std::string& split,
                        const std::string& text_key, const Tokenizer& tokenizer,
                        const ModelConfig& config, const std::string& model_name) {
  if (split != "val" && split != "train") {
    fail_usage("--split", fmt::format("\"{}\" is neither val nor train", split));
  }
  std::error_code error;
  const bool tokens = fs::is_directory(path, error) || path.ends_with(".bin");
  EvalData data = tokens ? open_tokens(path, split, tokenizer, config, model_name)
                         : open_text(path, text_key, tokenizer);
  if (data.text.size < 2) {
    fail_input(data.name, counted(data.text.size, "token") + ": nothing can be predicted",
               tokens ? "choose the other --split, or another dataset" : "give a longer text");
  }
  return data;
}

}  // namespace llm
