// Bad tokenizer.json, vocab.json and merges.txt.
#include "support/bad_input.h"

namespace llm::test {
namespace {

const std::vector<std::string> kEncode = {"tokenizer", "encode", "--tokenizer", "tok", "the fox"};

BadCase bad_tokenizer(const std::string& name, std::vector<std::string> message,
                      const std::function<void(const fs::path&)>& damage) {
  message.emplace_back("tok/tokenizer.json");
  return {"tokenizer.json: " + name, kEncode, kInput, std::move(message),
          [damage](const fs::path& sandbox) { damage(sandbox / "tok/tokenizer.json"); }};
}

BadCase changed(const std::string& name, std::vector<std::string> message,
                const std::function<void(Json&)>& change) {
  return bad_tokenizer(name, std::move(message),
                       [change](const fs::path& path) { change_json(path, change); });
}

std::vector<BadCase> tokenizer_json() {
  return {
      bad_tokenizer("empty", {"line 1"}, [](const fs::path& path) { write_file(path, ""); }),
      bad_tokenizer("truncated", {"line"}, [](const fs::path& path) { truncate_file(path, -20); }),
      bad_tokenizer("nested deeply", {"deep"},
                    [](const fs::path& path) {
                      std::string text;
                      for (int i = 0; i < 100'000; ++i) text += "{\"a\":";
                      write_file(path, text);
                    }),
      bad_tokenizer("larger than any", {"268,435,456 bytes"},
                    [](const fs::path& path) {  // takes no room on the disk
                      fs::resize_file(path, uintmax_t{1} << 40);
                    }),
      bad_tokenizer("huge key", {"line 1"},
                    [](const fs::path& path) {
                      write_file(path, "{\"" + std::string(4 << 20, 'a') + "\": x}");
                    }),
      changed("no object", {"model"}, [](Json& json) { json["model"] = 5; }),
      changed("type not supported", {"\"Unigram\"", "BPE"},
              [](Json& json) { json["model"]["type"] = "Unigram"; }),
      changed("normalizer", {"\"NFC\""},
              [](Json& json) {
                json["normalizer"] = {{"type", "NFC"}};
              }),
      changed("pre-tokenizer", {"\"Whitespace\"", "ByteLevel"},
              [](Json& json) {
                json["pre_tokenizer"] = {{"type", "Whitespace"}};
              }),
      changed("pattern that does not compile", {"pattern"},
              [](Json& json) {
                json["pre_tokenizer"] = Json::parse(
                    R"({"type": "Sequence", "pretokenizers": [{"type": "Split", "behavior":
                        "Isolated", "invert": false, "pattern": {"Regex": "(((("}}, {"type":
                        "ByteLevel", "add_prefix_space": false, "use_regex": false}]})");
              }),
      changed("id twice", {"id 5"}, [](Json& json) { json["model"]["vocab"]["a"] = 5; }),
      changed("negative id", {"\"a\"", "-1"}, [](Json& json) { json["model"]["vocab"]["a"] = -1; }),
      changed("id far beyond", {"\"a\"", "2,147,483,646"},
              [](Json& json) { json["model"]["vocab"]["a"] = int64_t{1} << 40; }),
      changed("id no number", {"\"a\"", "integer"},
              [](Json& json) { json["model"]["vocab"]["a"] = "five"; }),
      changed("a byte missing", {"byte"},
              [](Json& json) {
                Json& vocab = json["model"]["vocab"];
                vocab["!!!!"] = vocab["!"];
                vocab.erase("!");
              }),
      changed("merges no list", {"merges"}, [](Json& json) { json["model"]["merges"] = 7; }),
      changed("merge of one", {"merge 0", "\"alone\""},
              [](Json& json) { json["model"]["merges"][0] = "alone"; }),
      changed("merge of a number", {"merge 0"}, [](Json& json) { json["model"]["merges"][0] = 5; }),
      changed("merge of missing tokens", {"merge 0", "\"qq\"", "vocabulary"},
              [](Json& json) { json["model"]["merges"][0] = "qq zz"; }),
      changed("added token outside", {"added_tokens[0]", "-3"},
              [](Json& json) { json["added_tokens"][0]["id"] = -3; }),
      changed("added token empty", {"added_tokens[0]", "empty"},
              [](Json& json) { json["added_tokens"][0]["content"] = ""; }),
      changed("dropout", {"dropout"}, [](Json& json) { json["model"]["dropout"] = 0.1; }),
      {"chars: id twice",
       {"pretrain", "--data", "d", "-o", "new", "--steps", "1"},
       kInput,
       {"d/tokenizer.json", "vocab"},
       [](const fs::path& sandbox) {
         change_json(sandbox / "d/tokenizer.json",
                     [](Json& json) { json["model"]["vocab"]["a"] = 0; });
       }},
  };
}

BadCase bad_pair(const std::string& name, std::vector<std::string> message,
                 const std::function<void(const fs::path&)>& damage) {
  return {"vocab.json and merges.txt: " + name, kEncode, kInput, std::move(message),
          [damage](const fs::path& sandbox) {
            fs::remove(sandbox / "tok/tokenizer.json");
            damage(sandbox / "tok");
          }};
}

std::vector<BadCase> vocab_and_merges() {
  return {
      bad_pair("one missing", {"tok: ", "merges.txt"},
               [](const fs::path& tok) { fs::remove(tok / "merges.txt"); }),
      bad_pair("empty", {"tok/vocab.json", "line 1"},
               [](const fs::path& tok) { write_file(tok / "vocab.json", ""); }),
      bad_pair("a list", {"tok/vocab.json", "object"},
               [](const fs::path& tok) { write_file(tok / "vocab.json", "[]"); }),
      bad_pair("no tokens", {"tok/"},
               [](const fs::path& tok) {
                 write_file(tok / "vocab.json", "{}");
                 write_file(tok / "merges.txt", "");
               }),
      bad_pair("id twice", {"tok/vocab.json", "id 5"},
               [](const fs::path& tok) {
                 change_json(tok / "vocab.json", [](Json& json) { json["a"] = 5; });
               }),
      bad_pair("hole", {"tok/vocab.json", "300 tokens", "without gaps"},
               [](const fs::path& tok) {
                 change_json(tok / "vocab.json", [](Json& json) { json["a"] = 300; });
               }),
      bad_pair("negative id", {"tok/vocab.json", "-1"},
               [](const fs::path& tok) {
                 change_json(tok / "vocab.json", [](Json& json) { json["a"] = -1; });
               }),
      bad_pair(
          "token twice", {"tok/vocab.json", "twice"},
          [](const fs::path& tok) { replace_in_file(tok / "vocab.json", "{", "{\"a\": 300,"); }),
      bad_pair("merge of one", {"tok/merges.txt", "merge 0", "\"alone\""},
               [](const fs::path& tok) { write_file(tok / "merges.txt", "alone\n"); }),
      bad_pair("merge of three", {"tok/merges.txt", "merge 0", "\"a b c\""},
               [](const fs::path& tok) { write_file(tok / "merges.txt", "a b c\n"); }),
      bad_pair(
          "merge of missing tokens", {"tok/merges.txt", "\"qq\"", "vocabulary"},
          [](const fs::path& tok) { write_file(tok / "merges.txt", "#version: 0.2\nqq zz\n"); }),
      bad_pair(
          "endless line", {"tok/merges.txt", "merge 0"},
          [](const fs::path& tok) { write_file(tok / "merges.txt", std::string(8 << 20, 'a')); }),
      bad_pair("token outside the byte alphabet", {"tok/vocab.json", "byte alphabet"},
               [](const fs::path& tok) {
                 change_json(tok / "vocab.json", [](Json& json) { json["日"] = json.size(); });
               }),
  };
}

}  // namespace

std::vector<BadCase> bad_tokenizer_files() {
  std::vector<BadCase> all = tokenizer_json();
  for (const BadCase& bad : vocab_and_merges()) all.push_back(bad);
  return all;
}

}  // namespace llm::test
