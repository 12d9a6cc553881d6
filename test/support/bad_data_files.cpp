// Bad shards, dataset.json, text files and logs.
#include <fmt/format.h>

#include "base/hash.h"
#include "support/bad_input.h"

namespace llm::test {
namespace {

const std::vector<std::string> kInspect = {"data", "inspect", "d"};
const std::vector<std::string> kPretrain = {
    "pretrain", "--data",     "d", "-o",        "new", "--layers", "1", "--heads",
    "2",        "--channels", "8", "--context", "8",   "--steps",  "2"};
const char* const kShard = "d/train_000000.bin";

BadCase bad_shard(const std::string& name, std::vector<std::string> message,
                  const std::function<void(const fs::path&)>& damage) {
  message.emplace_back(kShard);
  return {"shard: " + name, kPretrain, kInput, std::move(message),
          [damage](const fs::path& sandbox) { damage(sandbox / kShard); }};
}

std::vector<BadCase> shards() {
  return {
      bad_shard("empty", {"0 bytes", "1,024", "truncated"},
                [](const fs::path& path) { truncate_file(path, 0); }),
      bad_shard("header cut", {"100 bytes", "1,024", "llm data prepare"},
                [](const fs::path& path) { truncate_file(path, 100); }),
      bad_shard("truncated", {"header says", "truncated"},
                [](const fs::path& path) { truncate_file(path, -1); }),
      bad_shard("appended", {"header says", "appended"},
                [](const fs::path& path) { write_file(path, read_text_file(path) + "x"); }),
      bad_shard("magic", {"offset 0", "magic number 7", "20240520"},
                [](const fs::path& path) { patch_file(path, 0, int32_bytes(7)); }),
      bad_shard("version", {"offset 4", "version 9"},
                [](const fs::path& path) { patch_file(path, 4, int32_bytes(9)); }),
      bad_shard("wide", {"header says", "truncated"},
                [](const fs::path& path) { patch_file(path, 4, int32_bytes(2)); }),
      bad_shard("count beyond the file", {"header says 4,294,968,318"},
                [](const fs::path& path) { patch_file(path, 8, int32_bytes(INT32_MAX)); }),
      bad_shard("negative count", {"offset 8", "-5", "negative"},
                [](const fs::path& path) { patch_file(path, 8, int32_bytes(-5)); }),
      bad_shard("one bit", {"checksum", "MiB 0", "dataset.json"},
                [](const fs::path& path) {
                  std::string text = read_text_file(path);
                  text[1500] = static_cast<char>(text[1500] ^ 1);
                  write_file(path, text);
                }),
      bad_shard("missing", {"No such file"}, [](const fs::path& path) { fs::remove(path); }),
      bad_shard("folder", {"not a regular file"},
                [](const fs::path& path) {
                  fs::remove(path);
                  fs::create_directory(path);
                }),
      {"shard: id beyond the vocabulary, with a right checksum",
       kPretrain,
       kInput,
       {kShard, "offset 1,044", "65,535", "another tokenizer"},
       [](const fs::path& sandbox) {
         patch_file(sandbox / kShard, 1044, "\xff\xff");
         const uint32_t crc = crc32c(as_bytes(read_text_file(sandbox / kShard)));
         change_json(sandbox / "d/dataset.json", [&](Json& json) {
           json["train"]["files"][0]["crc32c_per_mib"] = fmt::format("{:08x}", crc);
         });
       }},
      {"bare shard: id beyond the vocabulary",
       {"pretrain", "--data", "d/train_000000.bin", "-o", "new", "--layers", "1", "--heads", "2",
        "--channels", "8", "--context", "8", "--steps", "2", "--vocab-size", "30"},
       kInput,
       {kShard, "offset 1,044", "beyond the vocabulary of 30"},
       [](const fs::path& sandbox) { patch_file(sandbox / kShard, 1044, "\xff\x7f"); }},
      {"shard of text", {"data", "inspect", "text.txt"}, kInput, {"text.txt", "magic"}},
  };
}

BadCase bad_json(const std::string& name, std::vector<std::string> message,
                 const std::function<void(const fs::path&)>& damage) {
  message.emplace_back("d/dataset.json");
  return {"dataset.json: " + name, kInspect, kInput, std::move(message),
          [damage](const fs::path& sandbox) { damage(sandbox / "d/dataset.json"); }};
}

BadCase changed_json(const std::string& name, std::vector<std::string> message,
                     const std::function<void(Json&)>& change) {
  return bad_json(name, std::move(message),
                  [change](const fs::path& path) { change_json(path, change); });
}

std::vector<BadCase> dataset_json() {
  return {
      {"dataset.json: missing",
       kInspect,
       kInput,
       {"d: ", "dataset.json", "llm data prepare"},
       [](const fs::path& sandbox) { fs::remove(sandbox / "d/dataset.json"); }},
      bad_json("empty", {"line 1"}, [](const fs::path& path) { write_file(path, ""); }),
      bad_json("broken", {"line 3"},
               [](const fs::path& path) { write_file(path, "{\n\"version\": 1,\n\"train\": [}"); }),
      bad_json("not text", {"line 1"},
               [](const fs::path& path) { write_file(path, std::string("\x00\xff\xfe\x01", 4)); }),
      bad_json("a list", {"object"}, [](const fs::path& path) { write_file(path, "[1, 2]"); }),
      bad_json("nested deeply", {"deep"},
               [](const fs::path& path) { write_file(path, std::string(1 << 20, '[')); }),
      bad_json("key twice", {"\"version\"", "twice"},
               [](const fs::path& path) {
                 replace_in_file(path, "\"version\": 1", "\"version\": 1, \"version\": 1");
               }),
      bad_json("number beyond double", {"1e999"},
               [](const fs::path& path) {
                 replace_in_file(path, "\"version\": 1", "\"version\": 1e999");
               }),
      changed_json("text for a number", {"vocab_size"},
                   [](Json& json) { json["vocab_size"] = "many"; }),
      changed_json("negative number", {"vocab_size", "-1"},
                   [](Json& json) { json["vocab_size"] = -1; }),
      changed_json("later version", {"version", "99"}, [](Json& json) { json["version"] = 99; }),
      changed_json("key missing", {"train"}, [](Json& json) { json.erase("train"); }),
      changed_json("files outside", {"name", "../d/train_000000.bin"},
                   [](Json& json) { json["train"]["files"][0]["name"] = "../d/train_000000.bin"; }),
      changed_json("checksum no hex", {"crc32c_per_mib", "hex"},
                   [](Json& json) { json["train"]["files"][0]["crc32c_per_mib"] = "0123456z"; }),
      changed_json("checksums missing", {"crc32c_per_mib", "0 checksums"},
                   [](Json& json) { json["train"]["files"][0]["crc32c_per_mib"] = ""; }),
      changed_json("sum of tokens", {"tokens", "the files have"},
                   [](Json& json) { json["train"]["tokens"] = 5; }),
      {"dataset.json: tokens of a file",
       kInspect,
       kInput,
       {kShard, "dataset.json says 5"},
       [](const fs::path& sandbox) {
         change_json(sandbox / "d/dataset.json",
                     [](Json& json) { json["train"]["files"][0]["tokens"] = 5; });
       }},
      {"dataset.json: another tokenizer",
       kPretrain,
       kInput,
       {"d: ", "tokenizer 000000000000", "prepare the data again"},
       [](const fs::path& sandbox) {
         change_json(sandbox / "d/dataset.json",
                     [](Json& json) { json["tokenizer"]["sha256"] = std::string(64, '0'); });
       }},
      {"dataset too small",
       {"pretrain", "--data", "d", "-o", "new", "--layers", "1", "--heads", "2", "--channels", "8",
        "--context", "4096", "--steps", "2", "--batch", "1"},
       kInput,
       {"d: ", "1,819 training tokens", "4,097", "more text"}},
  };
}

BadCase bad_corpus(const std::string& name, const std::string& file, std::string_view text,
                   std::vector<std::string> message, std::vector<std::string> more = {}) {
  std::vector<std::string> words = {"data", "prepare", file, "--tokenizer", "bytes", "-o", "new"};
  words.insert(words.end(), more.begin(), more.end());
  return {"corpus: " + name, std::move(words), kInput, std::move(message),
          [file, text = std::string(text)](const fs::path& sandbox) {
            write_file(sandbox / file, text);
          }};
}

std::vector<BadCase> corpora() {
  return {
      bad_corpus("empty", "a.txt", "", {"a.txt", "no text"}),
      bad_corpus("invalid UTF-8 refused", "a.txt", "ab\xff", {"a.txt", "UTF-8"},
                 {"--invalid-utf8", "refuse"}),
      bad_corpus("UTF-16", "a.txt",
                 "\xff\xfe"
                 "a\0",
                 {"a.txt", "UTF-16", "iconv"}),
      bad_corpus("gzip", "a.txt", "\x1f\x8b\x08", {"a.txt", "gzip", "unpack"}),
      bad_corpus("broken JSONL", "a.jsonl", "{\"text\": \"a\"}\n{\"text\": \"b\n",
                 {"a.jsonl: line 2", "JSONL"}),
      bad_corpus("JSONL without the key", "a.jsonl", "{\"body\": \"a\"}\n",
                 {"a.jsonl: line 1", "\"text\"", "--text-key", "body"}),
      bad_corpus("JSONL with a number", "a.jsonl", "{\"text\": 5}\n",
                 {"a.jsonl: line 1", "string"}),
      bad_corpus("JSONL of lists", "a.jsonl", "[]\n", {"a.jsonl: line 1", "object"}),
      bad_corpus("one JSON value", "a.json", "[]", {"a.json", "jq"}),
      {"corpus: folder without text",
       {"data", "prepare", "run/checkpoints", "--tokenizer", "bytes", "-o", "new"},
       kInput,
       {"run/checkpoints", ".txt"}},
  };
}

BadCase bad_log(const std::string& name, std::string_view text, std::vector<std::string> message) {
  return {"log: " + name,
          {"plot", "run", "-o", "a.svg"},
          kInput,
          std::move(message),
          [text = std::string(text)](const fs::path& sandbox) {
            write_file(sandbox / "run/log.jsonl", text);
          }};
}

std::vector<BadCase> logs() {
  return {
      bad_log("empty", "", {"run/log.jsonl", "no step"}),
      bad_log("broken", "{\"type\":\"step\",\"step\":1,\"loss\":2}\n{]\n",
              {"run/log.jsonl, record 2"}),
      bad_log("wrong type", "{\"type\":\"step\",\"step\":\"one\"}\n",
              {"run/log.jsonl, record 1", "step"}),
      bad_log("negative step", "{\"type\":\"step\",\"step\":-1}\n",
              {"run/log.jsonl, record 1", "step", "-1"}),
      bad_log("no type", "{}\n", {"run/log.jsonl, record 1", "type"}),
  };
}

}  // namespace

std::vector<BadCase> bad_data_files() {
  std::vector<BadCase> all;
  for (const auto& part : {shards(), dataset_json(), corpora(), logs()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

}  // namespace llm::test
