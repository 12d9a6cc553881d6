#include "text/tokenizer.h"

#include <optional>
#include <system_error>

#include "base/downloads.h"
#include "base/error.h"
#include "text/bpe_tokenizer.h"
#include "text/tokenizer_facts.h"
#include "text/tokenizer_json.h"

namespace llm {

std::vector<TokenId> Tokenizer::encode(std::string_view text, bool allow_special) const {
  std::vector<TokenId> ids;
  encode(text, ids, allow_special);
  return ids;
}

void Tokenizer::encode_parallel(std::string_view text, std::vector<TokenId>& ids, int,
                                bool allow_special) const {
  encode(text, ids, allow_special);
}

std::string Tokenizer::decode(std::span<const TokenId> ids) const {
  std::string text;
  for (const TokenId id : ids) text += token_bytes(id);
  return text;
}

std::vector<TokenId> encode_parallel(const Tokenizer& tokenizer, std::string_view text,
                                     int threads) {
  std::vector<TokenId> ids;
  tokenizer.encode_parallel(text, ids, threads);
  return ids;
}

namespace {

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

std::unique_ptr<Tokenizer> read_vocabulary(const fs::path& directory) {
  constexpr int64_t kMaxBytes = int64_t{1} << 28;
  constexpr const char* kHint =
      "damaged, or not byte-level BPE: take a fresh copy, or make one with `llm tokenizer train`";
  const fs::path json = directory / "tokenizer.json";
  if (is_there(json)) {
    return with_hint(
        kHint, [&] { return tokenizer_from_json(read_text_file(json, kMaxBytes), json.string()); });
  }
  const fs::path vocab = directory / "vocab.json", merges = directory / "merges.txt";
  if (is_there(vocab) && is_there(merges)) {
    return with_hint(kHint, [&] {
      return tokenizer_from_vocab_and_merges(read_text_file(vocab, kMaxBytes), vocab.string(),
                                             read_text_file(merges, kMaxBytes), merges.string());
    });
  }
  fail_input(directory.string(),
             is_there(directory) ? "there is no tokenizer here" : "there is no such folder",
             "a folder with tokenizer.json, or with vocab.json and merges.txt, is needed");
}

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer(const fs::path& directory) {
  auto tokenizer = read_vocabulary(directory);
  auto* bpe = dynamic_cast<BpeTokenizer*>(tokenizer.get());
  if (bpe != nullptr && !bpe->end_of_text()) {
    bpe->end_texts_with(read_tokenizer_facts(directory).eos);
  }
  return tokenizer;
}

std::unique_ptr<Tokenizer> open_tokenizer(const std::string& spec, const fs::path& tokenizer_dir) {
  if (spec == "bytes") return make_byte_tokenizer();
  if (spec == "gpt2" && !tokenizer_dir.empty()) return load_tokenizer(tokenizer_dir);
  if (!spec.empty() && is_there(spec)) return load_tokenizer(spec);
  const std::optional<fs::path> downloaded = downloaded_model_folder(spec);
  if (downloaded && is_there(*downloaded)) return load_tokenizer(*downloaded);
  if (spec == "gpt2") {
    fail_usage("--tokenizer", "the files of gpt2 are not given",
               "--tokenizer-dir DIR with vocab.json and merges.txt, or `llm download gpt2`");
  }
  if (spec == "chars") {
    fail_usage("--tokenizer", "`chars` is made from a text",
               "prepare data with it, then give the dataset's folder");
  }
  fail_usage("--tokenizer", fmt::format("there is no '{}'", spec),
             "a folder with a tokenizer, a downloaded model, gpt2 or bytes");
}

}  // namespace llm
