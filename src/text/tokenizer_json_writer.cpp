#include <string>
#include <vector>

#include "base/json.h"
#include "text/byte_alphabet.h"
#include "text/pattern.h"
#include "text/tokenizer_json.h"

namespace llm {
namespace {

Json byte_level_step(bool add_prefix_space, bool use_regex) {
  return Json{{"type", "ByteLevel"},
              {"add_prefix_space", add_prefix_space},
              {"trim_offsets", true},
              {"use_regex", use_regex}};
}

Json pre_tokenizer_json(const BpeSpec& spec) {
  if (spec.pattern == kGpt2Pattern) return byte_level_step(spec.add_prefix_space, true);
  if (spec.pattern.empty()) return byte_level_step(spec.add_prefix_space, false);
  Json split{{"type", "Split"},
             {"pattern", Json{{"Regex", spec.pattern}}},
             {"behavior", "Isolated"},
             {"invert", false}};
  return Json{{"type", "Sequence"},
              {"pretokenizers", Json::array({std::move(split), byte_level_step(false, false)})}};
}

// How the files write the token: an added one as it is, the others in byte characters.
std::vector<std::string> token_texts(const BpeSpec& spec) {
  std::vector<std::string> texts;
  texts.reserve(spec.tokens.size());
  for (const std::string& token : spec.tokens) texts.push_back(to_byte_characters(token));
  for (const AddedToken& added : spec.added) texts[added.id] = added.text;
  return texts;
}

Json vocabulary_json(const std::vector<std::string>& texts) {
  Json::object_t vocabulary;
  vocabulary.reserve(texts.size());
  // emplace would look for an equal key through the whole list each time.
  for (size_t id = 0; id < texts.size(); ++id) vocabulary.emplace_back(texts[id], id);
  return vocabulary;
}

std::string merge_text(const BpeMerge& merge, const std::vector<std::string>& texts) {
  return texts[merge.left] + " " + texts[merge.right];
}

}  // namespace

std::string bpe_to_json(const BpeSpec& spec) {
  const std::vector<std::string> texts = token_texts(spec);
  Json added = Json::array();
  for (const AddedToken& token : spec.added) {
    added.push_back(Json{{"id", token.id},
                         {"content", token.text},
                         {"single_word", false},
                         {"lstrip", false},
                         {"rstrip", false},
                         {"normalized", false},
                         {"special", token.special}});
  }
  Json merges = Json::array();
  for (const BpeMerge& merge : spec.merges) merges.push_back(merge_text(merge, texts));
  Json model{{"type", "BPE"},
             {"dropout", nullptr},
             {"unk_token", nullptr},
             {"continuing_subword_prefix", nullptr},
             {"end_of_word_suffix", nullptr},
             {"fuse_unk", false},
             {"byte_fallback", false},
             {"ignore_merges", spec.ignore_merges}};
  model.get_ref<Json::object_t&>().emplace_back("vocab", vocabulary_json(texts));
  model.get_ref<Json::object_t&>().emplace_back("merges", std::move(merges));
  const Json no_ids = byte_level_step(true, true);  // changes offsets only
  Json document{{"version", "1.0"},
                {"truncation", nullptr},
                {"padding", nullptr},
                {"added_tokens", std::move(added)},
                {"normalizer", nullptr},
                {"pre_tokenizer", pre_tokenizer_json(spec)},
                {"post_processor", spec.post_processor.is_null() ? no_ids : spec.post_processor},
                {"decoder", byte_level_step(true, true)},
                {"model", std::move(model)}};
  return to_pretty_text(document);
}

std::string bpe_to_vocab_json(const BpeSpec& spec) {
  return to_line(vocabulary_json(token_texts(spec))) + "\n";
}

std::string bpe_to_merges_text(const BpeSpec& spec) {
  const std::vector<std::string> texts = token_texts(spec);
  std::string text = "#version: 0.2\n";
  for (const BpeMerge& merge : spec.merges) text += merge_text(merge, texts) + "\n";
  return text;
}

}  // namespace llm
