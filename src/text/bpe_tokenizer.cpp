#include "text/bpe_tokenizer.h"

#include <algorithm>

#include "base/error.h"
#include "base/hash.h"
#include "text/tokenizer_facts.h"
#include "text/tokenizer_json.h"
#include "text/unicode.h"

namespace llm {
namespace {

// What one thread takes at a time of a large text, in bytes.
constexpr size_t kEncodedPerThread = 2 << 20;

}  // namespace

// What one encoding thread needs; kept between calls, so that the cache stays warm.
struct BpeTokenizer::Scratch {
  explicit Scratch(const PreTokenizer& pre_tokenizer) : matcher(pre_tokenizer) {}
  Matcher matcher;
  BpeScratch bpe;
  PieceCache cache;
};

BpeTokenizer::BpeTokenizer(BpeSpec spec, const std::string& where) : spec_(std::move(spec)) {
  is_added_.resize(spec_.tokens.size());
  for (const AddedToken& added : spec_.added) is_added_.at(added.id) = true;
  check(where);
  std::array<TokenId, 256> byte_ids;
  byte_ids.fill(-1);
  for (size_t id = 0; id < spec_.tokens.size(); ++id) {
    const std::string& token = spec_.tokens[id];
    if (is_added_[id]) continue;
    if (token.size() == 1) byte_ids[static_cast<uint8_t>(token[0])] = static_cast<TokenId>(id);
    if (spec_.ignore_merges) whole_pieces_.emplace(token, static_cast<TokenId>(id));
  }
  for (int byte = 0; byte < 256; ++byte) {
    if (byte_ids[byte] < 0) {
      fail_input(where, fmt::format("the vocabulary has no token for byte 0x{:02X}", byte),
                 "only byte-level vocabularies with all 256 bytes are supported");
    }
  }
  bpe_ = std::make_unique<Bpe>(byte_ids, spec_.merges);
  pre_tokenizer_ = std::make_unique<PreTokenizer>(spec_.pattern, where);
  for (const AddedToken& added : spec_.added) {
    all_added_.add(added.text, added.id);
    if (!added.special) always_found_.add(added.text, added.id);
    if (added.special) specials_.push_back({added.text, added.id});
    if (added.special && added.text == kEndOfText) end_of_text_ = added.id;
  }
}

BpeTokenizer::~BpeTokenizer() = default;

void BpeTokenizer::end_texts_with(std::string_view special) {
  if (end_of_text_) return;
  for (const SpecialToken& token : specials_) {
    if (token.text == special) end_of_text_ = token.id;
  }
}

void BpeTokenizer::check(const std::string& where) const {
  std::unordered_map<uint64_t, size_t> ranks;
  ranks.reserve(spec_.merges.size());
  for (size_t rank = 0; rank < spec_.merges.size(); ++rank) {
    const BpeMerge& merge = spec_.merges[rank];
    for (const TokenId id : {merge.left, merge.right, merge.result}) {
      if (is_added_.at(id)) {
        fail_input(where, fmt::format("merge {} uses the added token '{}'", with_commas(rank),
                                      spec_.tokens[id]));
      }
    }
    const uint64_t pair = static_cast<uint64_t>(merge.left) << 32 | merge.right;
    const auto [earlier, inserted] = ranks.emplace(pair, rank);
    if (!inserted) {
      fail_input(where, fmt::format("merges {} and {} are the same", with_commas(earlier->second),
                                    with_commas(rank)));
    }
  }
}

std::unique_ptr<BpeTokenizer::Scratch> BpeTokenizer::take_scratch() const {
  {
    const std::lock_guard lock(scratch_mutex_);
    if (!idle_scratch_.empty()) {
      std::unique_ptr<Scratch> scratch = std::move(idle_scratch_.back());
      idle_scratch_.pop_back();
      return scratch;
    }
  }
  return std::make_unique<Scratch>(*pre_tokenizer_);
}

void BpeTokenizer::return_scratch(std::unique_ptr<Scratch> scratch) const {
  const std::lock_guard lock(scratch_mutex_);
  idle_scratch_.push_back(std::move(scratch));
}

void BpeTokenizer::encode_piece(std::string_view piece, Scratch& scratch,
                                std::vector<TokenId>& ids) const {
  if (scratch.cache.find(piece, ids)) return;
  const size_t before = ids.size();
  const auto whole = spec_.ignore_merges ? whole_pieces_.find(piece) : whole_pieces_.end();
  if (whole != whole_pieces_.end()) {
    ids.push_back(whole->second);
  } else {
    bpe_->encode(piece, scratch.bpe, ids);
  }
  scratch.cache.insert(piece, std::span(ids).subspan(before));
}

// Collects the ids of each chunk, and how many of its first ids came from pieces that were none.
class BpeTokenizer::EncodingSink final : public PieceSink {
 public:
  explicit EncodingSink(const BpeTokenizer& tokenizer) : tokenizer_(tokenizer) {}
  ~EncodingSink() override {
    for (Chunk& chunk : chunks_) {
      if (chunk.scratch) tokenizer_.return_scratch(std::move(chunk.scratch));
    }
  }

  void begin(int count) override {
    if (static_cast<int>(chunks_.size()) <= count) chunks_.resize(count + 1);
    for (Chunk& chunk : chunks_) {
      chunk.before.clear();
      chunk.ids.clear();
      chunk.dropped = 0;
    }
  }
  void add(int chunk, std::string_view piece) override { encode(chunk, piece, chunks_[chunk].ids); }
  void drop_first(int chunk, std::string_view piece) override {
    std::vector<TokenId> ids;
    encode(chunk, piece, ids);
    chunks_[chunk].dropped += ids.size();
  }
  void add_before(int chunk, std::string_view piece) override {
    encode(chunk, piece, chunks_[chunk].before);
  }

  void append_to(std::vector<TokenId>& ids) const {
    for (const Chunk& chunk : chunks_) {
      ids.insert(ids.end(), chunk.before.begin(), chunk.before.end());
      ids.insert(ids.end(), chunk.ids.begin() + chunk.dropped, chunk.ids.end());
    }
  }

 private:
  struct Chunk {
    std::unique_ptr<Scratch> scratch;
    std::vector<TokenId> before, ids;
    size_t dropped = 0;
  };

  void encode(int chunk, std::string_view piece, std::vector<TokenId>& ids) {
    std::unique_ptr<Scratch>& scratch = chunks_[chunk].scratch;
    if (!scratch) scratch = tokenizer_.take_scratch();
    tokenizer_.encode_piece(piece, *scratch, ids);
  }

  const BpeTokenizer& tokenizer_;
  std::vector<Chunk> chunks_;
};

size_t BpeTokenizer::encode_windows(std::string_view text, bool open, int threads,
                                    std::vector<TokenId>& ids) const {
  EncodingSink sink(*this);
  size_t window = kEncodedPerThread * threads;
  for (size_t at = 0;;) {
    const bool last = text.size() - at <= window;
    std::string_view part = text.substr(at, window);
    const bool part_open = open || !last;
    if (part_open) part.remove_suffix(unfinished_utf8_suffix(part));
    const size_t covered = find_pieces(*pre_tokenizer_, part, part_open, threads, sink);
    sink.append_to(ids);
    at += covered;
    if (last) return at;
    if (covered < window / 2) window *= 2;  // a piece longer than the window
  }
}

size_t BpeTokenizer::encode_ordinary(std::string_view text, bool open, int threads,
                                     std::vector<TokenId>& ids) const {
  if (text.empty()) return 0;
  if (open || (threads > 1 && pre_tokenizer_->forgets_the_past() && !spec_.add_prefix_space)) {
    if (!pre_tokenizer_->forgets_the_past() || spec_.add_prefix_space) return 0;
    return encode_windows(text, open, threads, ids);
  }
  const size_t size = text.size();
  std::string prefixed;
  if (spec_.add_prefix_space && text[0] != ' ') {
    prefixed.reserve(size + 1);
    prefixed.append(" ").append(text);
    text = prefixed;
  }
  std::unique_ptr<Scratch> scratch = take_scratch();
  PieceCursor pieces(scratch->matcher, text, 0, /*open=*/false);
  std::string_view piece;
  while (pieces.next(piece)) encode_piece(piece, *scratch, ids);
  return_scratch(std::move(scratch));
  return size;
}

size_t BpeTokenizer::encode_all(std::string_view text, bool open, int threads, bool allow_special,
                                std::vector<TokenId>& ids) const {
  const SpecialTokenFinder& finder = allow_special ? all_added_ : always_found_;
  return finder.split(
      text, open,
      [&](std::string_view part, bool part_open) {
        return encode_ordinary(part, part_open, threads, ids);
      },
      [&](TokenId id) { ids.push_back(id); });
}

void BpeTokenizer::encode(std::string_view text, std::vector<TokenId>& ids,
                          bool allow_special) const {
  encode_all(text, /*open=*/false, /*threads=*/1, allow_special, ids);
}

void BpeTokenizer::encode_parallel(std::string_view text, std::vector<TokenId>& ids, int threads,
                                   bool allow_special) const {
  encode_all(text, /*open=*/false, std::max(threads, 1), allow_special, ids);
}

size_t BpeTokenizer::encode_prefix(std::string_view text, std::vector<TokenId>& ids, int threads,
                                   bool allow_special) const {
  return encode_all(text, /*open=*/true, std::max(threads, 1), allow_special, ids);
}

std::string_view BpeTokenizer::token_bytes(TokenId id) const {
  if (id < 0 || id >= vocab_size()) {
    fail_usage("token id",
               fmt::format("{} is not in the vocabulary of {}", id, with_commas(vocab_size())));
  }
  return spec_.tokens[id];
}

std::string BpeTokenizer::hash() const {
  Sha256 sha;
  const auto number = [&](int64_t value) { sha.update(fmt::format("{} ", value)); };
  const auto text = [&](std::string_view value) {
    number(static_cast<int64_t>(value.size()));
    sha.update(value);
  };
  text("bpe 1");
  text(spec_.pattern);
  number(spec_.add_prefix_space);
  number(spec_.ignore_merges);
  number(vocab_size());
  for (const std::string& token : spec_.tokens) text(token);
  number(static_cast<int64_t>(spec_.merges.size()));
  for (const BpeMerge& merge : spec_.merges) {
    number(merge.left);
    number(merge.right);
    number(merge.result);
  }
  number(static_cast<int64_t>(spec_.added.size()));
  for (const AddedToken& added : spec_.added) {
    number(added.id);
    number(added.special);
  }
  return sha.hex_digest();
}

void BpeTokenizer::save(const fs::path& directory) const {
  make_directories(directory);
  write_file_atomically(directory / "tokenizer.json", bpe_to_json(spec_));
  write_file_atomically(directory / "vocab.json", bpe_to_vocab_json(spec_));
  write_file_atomically(directory / "merges.txt", bpe_to_merges_text(spec_));
  if (!end_of_text_ || spec_.tokens[static_cast<size_t>(*end_of_text_)] == kEndOfText) return;
  // The other files do not tell it.
  const Json config = {{"eos_token", spec_.tokens[static_cast<size_t>(*end_of_text_)]}};
  write_file_atomically(directory / kTokenizerConfigFile, to_pretty_text(config));
}

}  // namespace llm
