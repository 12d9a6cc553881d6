#include "text/tokenizer_json.h"

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "base/error.h"
#include "base/json.h"
#include "text/byte_alphabet.h"
#include "text/char_tokenizer.h"
#include "text/pattern.h"

namespace llm {
namespace {

constexpr int64_t kMaxId = (int64_t{1} << 31) - 2;

std::string in_quotes(std::string_view text) {
  constexpr size_t kLongest = 60;
  std::string shown =
      text.size() > kLongest ? std::string(text.substr(0, kLongest)) + "..." : std::string(text);
  return Json(shown).dump(-1, ' ', false, Json::error_handler_t::replace);
}

// The tokens of a file by id, as they are found: ids must come out as 0, 1, ... without a gap.
class VocabularyReader {
 public:
  VocabularyReader(const Json& vocabulary, size_t added_count, const std::string& where)
      : where_(where) {
    if (!vocabulary.is_object()) fail_input(where, "the vocabulary is not a JSON object");
    texts_.resize(vocabulary.size() + added_count);
    ids_.reserve(vocabulary.size());
    for (const auto& [text, id] : vocabulary.items()) {
      if (!id.is_number_integer()) {
        fail_input(where, fmt::format("the id of token {} is not an integer", in_quotes(text)));
      }
      set(text,
          id.is_number_unsigned() && id.get<uint64_t>() > kMaxId ? kMaxId : id.get<int64_t>());
    }
  }

  void set(const std::string& text, int64_t id) {
    if (id < 0 || id >= static_cast<int64_t>(texts_.size())) {
      fail_input(where_,
                 fmt::format("token {} has id {}, but there are {} tokens", in_quotes(text),
                             with_commas(id), with_commas(texts_.size())),
                 "ids must run from 0 without gaps");
    }
    if (texts_[id] && *texts_[id] != text) {
      fail_input(where_, fmt::format("id {} belongs to {} and to {}", with_commas(id),
                                     in_quotes(*texts_[id]), in_quotes(text)));
    }
    if (!texts_[id]) ++count_;
    texts_[id] = text;
    const auto [known, inserted] = ids_.emplace(text, static_cast<TokenId>(id));
    if (!inserted && known->second != id) {
      fail_input(where_, fmt::format("token {} has the ids {} and {}", in_quotes(text),
                                     with_commas(known->second), with_commas(id)));
    }
  }

  std::optional<TokenId> find(const std::string& text) const {
    const auto found = ids_.find(text);
    if (found == ids_.end()) return std::nullopt;
    return found->second;
  }

  // The texts by id. Throws if an id is missing.
  std::vector<std::string> texts() const {
    std::vector<std::string> texts;
    texts.reserve(count_);
    for (size_t id = 0; id < count_; ++id) {
      if (!texts_[id]) {
        fail_input(where_, fmt::format("no token has id {}", with_commas(id)),
                   "ids must run from 0 without gaps");
      }
      texts.push_back(*texts_[id]);
    }
    return texts;
  }

 private:
  const std::string& where_;
  std::vector<std::optional<std::string>> texts_;
  std::unordered_map<std::string, TokenId> ids_;
  size_t count_ = 0;
};

BpeMerge read_merge(const std::string& left, const std::string& right,
                    const VocabularyReader& vocabulary, size_t rank, const std::string& where) {
  TokenId ids[3];
  const std::string texts[3] = {left, right, left + right};
  for (int i = 0; i < 3; ++i) {
    const std::optional<TokenId> id = vocabulary.find(texts[i]);
    if (!id) {
      fail_input(where, fmt::format("merge {} joins {} and {}, but {} is not in the vocabulary",
                                    with_commas(rank), in_quotes(left), in_quotes(right),
                                    in_quotes(texts[i])));
    }
    ids[i] = *id;
  }
  return {ids[0], ids[1], ids[2]};
}

// "left right"
BpeMerge read_merge_line(std::string_view line, const VocabularyReader& vocabulary, size_t rank,
                         const std::string& where) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || space == 0 || space + 1 == line.size() ||
      line.find(' ', space + 1) != std::string_view::npos) {
    fail_input(where, fmt::format("merge {} is {}, not two tokens with a space between",
                                  with_commas(rank), in_quotes(line)));
  }
  return read_merge(std::string(line.substr(0, space)), std::string(line.substr(space + 1)),
                    vocabulary, rank, where);
}

std::vector<BpeMerge> read_json_merges(const Json& merges, const VocabularyReader& vocabulary,
                                       const std::string& where) {
  std::vector<BpeMerge> result;
  result.reserve(merges.size());
  for (const Json& merge : merges) {
    const size_t rank = result.size();
    if (merge.is_string()) {
      result.push_back(
          read_merge_line(merge.get_ref<const std::string&>(), vocabulary, rank, where));
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      result.push_back(read_merge(merge[0].get<std::string>(), merge[1].get<std::string>(),
                                  vocabulary, rank, where));
    } else {
      fail_input(where,
                 fmt::format("merge {} is neither \"a b\" nor [\"a\", \"b\"]", with_commas(rank)));
    }
  }
  return result;
}

std::vector<AddedToken> read_added_tokens(const JsonObject& root) {
  std::vector<AddedToken> result;
  if (!root.has("added_tokens")) return result;
  const Json& list = root.array("added_tokens");
  for (size_t i = 0; i < list.size(); ++i) {
    const JsonObject token(list[i], fmt::format("{}: added_tokens[{}]", root.where(), i));
    AddedToken added;
    added.text = token.text("content");
    added.id = static_cast<TokenId>(token.integer("id", 0, kMaxId));
    added.special = token.boolean("special", false);
    if (added.text.empty()) token.fail("content", "is empty");
    for (const char* key : {"single_word", "lstrip", "rstrip"}) {
      if (token.boolean(key, false)) token.fail(key, "is true, which is not supported");
    }
    for (const AddedToken& other : result) {
      if (other.text == added.text || other.id == added.id) {
        token.fail("content", fmt::format("{} comes twice", in_quotes(added.text)));
      }
    }
    result.push_back(std::move(added));
  }
  std::sort(result.begin(), result.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return result;
}

// The bytes of the tokens: added tokens stand for themselves, the others are in byte characters.
std::vector<std::string> token_bytes_of(std::vector<std::string> texts,
                                        const std::vector<AddedToken>& added,
                                        const std::string& where) {
  std::vector<bool> is_added(texts.size());
  for (const AddedToken& token : added) is_added[token.id] = true;
  for (size_t id = 0; id < texts.size(); ++id) {
    if (is_added[id]) continue;
    std::optional<std::string> bytes = from_byte_characters(texts[id]);
    if (!bytes || bytes->empty()) {
      fail_input(where,
                 fmt::format("token {} is {}, which is not in the byte alphabet of GPT-2",
                             with_commas(id), in_quotes(texts[id])),
                 "only byte-level vocabularies are supported");
    }
    texts[id] = std::move(*bytes);
  }
  return texts;
}

void refuse_unless_absent(const JsonObject& object, const char* key, const char* what) {
  if (!object.has(key)) return;
  const Json& value = object.value(key);
  if (value.is_string() && value.get_ref<const std::string&>().empty()) return;
  if (value.is_boolean() && !value.get<bool>()) return;
  if (value.is_number() && value.get<double>() == 0.0) return;
  object.fail(key, fmt::format("{} is not supported", what));
}

std::string escape_literal(std::string_view text) {
  std::string pattern;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && !std::isalnum(byte))
      pattern += fmt::format("\\x{{{:x}}}", byte);
    else
      pattern += c;
  }
  return pattern;
}

// The pattern of a Split step.
std::string read_split(const JsonObject& split) {
  const JsonObject pattern = split.object("pattern");
  std::string text =
      pattern.has("String") ? escape_literal(pattern.text("String")) : pattern.text("Regex");
  if (text.empty()) split.fail("pattern", "is empty");
  const std::string behavior = split.text("behavior");
  const bool inverted = split.boolean("invert", false);
  // Keeping the matches only is the same as isolating them where the matches leave nothing out.
  const bool covers_all = text == kGpt2Pattern || text == kCl100kPattern;
  if (behavior != "Isolated" && !(behavior == "Removed" && inverted && covers_all)) {
    split.fail("behavior", fmt::format("{} is not supported, only Isolated", in_quotes(behavior)));
  }
  return text;
}

void read_byte_level(const JsonObject& step, BpeSpec& spec) {
  spec.add_prefix_space = step.boolean("add_prefix_space", false);
  if (step.boolean("use_regex", true)) spec.pattern = kGpt2Pattern;
}

void read_pre_tokenizer(const JsonObject& root, BpeSpec& spec) {
  const std::string hint = "a byte-level one (ByteLevel, or Split and ByteLevel) is needed";
  if (!root.has("pre_tokenizer")) fail_input(root.where(), "there is no pre_tokenizer", hint);
  const JsonObject step = root.object("pre_tokenizer");
  const std::string type = step.text("type");
  if (type == "ByteLevel") return read_byte_level(step, spec);
  if (type != "Sequence") {
    fail_input(step.where(), fmt::format("pre-tokenizer {} is not supported", in_quotes(type)),
               hint);
  }
  const Json& list = step.array("pretokenizers");
  std::vector<JsonObject> steps;
  for (size_t i = 0; i < list.size() && i < 3; ++i) {
    steps.emplace_back(list[i], fmt::format("{}: pretokenizers[{}]", step.where(), i));
  }
  if (steps.size() == 1 && steps[0].text("type") == "ByteLevel") {
    return read_byte_level(steps[0], spec);
  }
  if (steps.size() != 2 || steps[0].text("type") != "Split" ||
      steps[1].text("type") != "ByteLevel") {
    fail_input(step.where(), "this sequence of pre-tokenizers is not supported", hint);
  }
  read_byte_level(steps[1], spec);
  if (!spec.pattern.empty()) steps[1].fail("use_regex", "must be false after a Split");
  if (spec.add_prefix_space) steps[1].fail("add_prefix_space", "must be false after a Split");
  spec.pattern = read_split(steps[0]);
}

bool is_byte_tokenizer(const BpeSpec& spec) {
  if (spec.tokens.size() != 257 || !spec.merges.empty() || !spec.pattern.empty()) return false;
  if (spec.add_prefix_space || spec.added.size() != 1 || spec.added[0].id != 256) return false;
  for (int byte = 0; byte < 256; ++byte) {
    if (spec.tokens[byte] != std::string(1, static_cast<char>(byte))) return false;
  }
  return spec.added[0].special && spec.added[0].text == kEndOfText;
}

std::unique_ptr<Tokenizer> read_bpe(const JsonObject& root, const JsonObject& model) {
  refuse_unless_absent(model, "dropout", "dropout");
  refuse_unless_absent(model, "continuing_subword_prefix", "a prefix of word parts");
  refuse_unless_absent(model, "end_of_word_suffix", "a suffix of words");
  refuse_unless_absent(model, "byte_fallback", "byte fallback");
  BpeSpec spec;
  spec.ignore_merges = model.boolean("ignore_merges", false);
  read_pre_tokenizer(root, spec);
  spec.added = read_added_tokens(root);
  VocabularyReader vocabulary(model.value("vocab"), spec.added.size(), model.where());
  for (const AddedToken& added : spec.added) vocabulary.set(added.text, added.id);
  spec.merges = read_json_merges(model.array("merges"), vocabulary, model.where());
  spec.tokens = token_bytes_of(vocabulary.texts(), spec.added, model.where());
  if (is_byte_tokenizer(spec)) return make_byte_tokenizer();
  if (root.has("post_processor")) spec.post_processor = root.value("post_processor");
  return std::make_unique<BpeTokenizer>(std::move(spec), root.where());
}

}  // namespace

std::unique_ptr<Tokenizer> tokenizer_from_json(std::string_view json, const std::string& where) {
  const Json document = parse_json(json, where);
  const JsonObject root(document, where);
  if (root.has("normalizer")) {
    const JsonObject normalizer = root.object("normalizer");
    if (normalizer.text("type") != "Sequence" || !normalizer.array("normalizers").empty()) {
      root.fail("normalizer",
                fmt::format("{} is not supported", in_quotes(normalizer.text("type"))));
    }
  }
  const JsonObject model = root.object("model");
  const std::string type = model.text("type", model.has("merges") ? "BPE" : "");
  if (type == "BPE") return read_bpe(root, model);
  if (type == "WordLevel") return char_tokenizer_from_json(root, model);
  fail_input(where, fmt::format("a tokenizer model of type {} is not supported", in_quotes(type)),
             "BPE is, and WordLevel of single characters");
}

std::unique_ptr<Tokenizer> tokenizer_from_vocab_and_merges(std::string_view vocab,
                                                           const std::string& vocab_where,
                                                           std::string_view merges,
                                                           const std::string& merges_where) {
  const Json document = parse_json(vocab, vocab_where);
  VocabularyReader vocabulary(document, 0, vocab_where);
  BpeSpec spec;
  spec.pattern = kGpt2Pattern;
  bool merged_end_of_text = false;
  const std::optional<TokenId> end_of_text = vocabulary.find(std::string(kEndOfText));
  for (size_t at = 0; at < merges.size();) {
    const size_t end = std::min(merges.find('\n', at), merges.size());
    std::string_view line = merges.substr(at, end - at);
    at = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with("#version")) continue;
    spec.merges.push_back(read_merge_line(line, vocabulary, spec.merges.size(), merges_where));
    merged_end_of_text |= spec.merges.back().result == end_of_text;
  }
  if (end_of_text && !merged_end_of_text) {
    spec.added.push_back({std::string(kEndOfText), *end_of_text, /*special=*/true});
  }
  spec.tokens = token_bytes_of(vocabulary.texts(), spec.added, vocab_where);
  return std::make_unique<BpeTokenizer>(std::move(spec), vocab_where);
}

}  // namespace llm
