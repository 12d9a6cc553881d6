// llm import, llm export and llm inspect as people and scripts call them.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <fstream>

#include "base/json.h"
#include "cpu_ref/cpu_backend.h"
#include "support/convert_test.h"
#include "text/chat_template.h"
#include "weights/model_folder.h"

namespace llm {
namespace {

using test::ProcessResult;

const fs::path kModels = fs::path(LLM_SOURCE_DIR) / "test" / "golden" / "models";

class ConvertCommand : public test::ConvertTest {};

TEST_F(ConvertCommand, OutAndInAgainInEveryFormat) {
  const std::string model = model_.string();
  const Json hugging_face = figures({"export", model, "-o", path("hf")});
  EXPECT_EQ(hugging_face["dtype"], "f32");
  EXPECT_EQ(hugging_face["weights"], path("hf/model.safetensors"));
  EXPECT_TRUE(weights(path("hf")) == weights(model));
  figures({"export", model, "-o", path("book"), "--format", "book"});
  figures({"import", path("book/model.pth"), "-o", path("from-book")});
  EXPECT_TRUE(weights(path("from-book")) == weights(model));
  figures({"export", model, "-o", path("llmc"), "--format", "llm.c", "--dtype", "bf16"});
  const Json back = figures({"import", path("llmc"), "-o", path("from-llmc")});
  EXPECT_EQ(back["dtype"], "bf16");
  EXPECT_EQ(back["parameters"], parameter_count(read_model_config(model)));
  // The tokenizers came along, so that these write.
  for (const char* folder : {"hf", "from-book", "from-llmc"}) {
    EXPECT_EQ(llm({"generate", path(folder), "-p", "ab", "-n", "3"}).exit_code, 0) << folder;
  }
  EXPECT_EQ(read_model_config(path("from-llmc")).eos_token_id, 256);
}

TEST_F(ConvertCommand, AStateDictHasItsConfigBesideIt) {
  figures({"export", model_.string(), "-o", path("book"), "--format", "book"});
  EXPECT_EQ(read_json_file(path("book/config.json")), read_json_file(model_ / "config.json"));
  EXPECT_EQ(figures({"inspect", path("book")})["config"]["n_head"], 3);
  figures({"import", path("book"), "-o", path("again")});
  EXPECT_TRUE(weights(path("again")) == weights(model_));
  EXPECT_EQ(read_json_file(path("again/config.json")), read_json_file(model_ / "config.json"));
  expect_exit(2, "--heads", {"import", path("book"), "-o", path("x"), "--heads", "5"});
  fs::remove(directory_ / "book/config.json");
  expect_exit(2, "--heads", {"import", path("book"), "-o", path("x")});
}

TEST_F(ConvertCommand, ShardedFoldersAreUsedAsTheyAre) {
  const std::string sharded = (kModels / "sharded_f16").string();
  const Json generated = figures(
      {"generate", sharded, "--tokenizer", "bytes", "-p", "\x01\x02", "-n", "2", "--no-echo"});
  EXPECT_EQ(generated["ids"].size(), 2u);
  const Json inspected = figures({"inspect", sharded});
  EXPECT_EQ(inspected["tensors"].size(), 2u + 3 * 12 + 2 + 1);
  EXPECT_EQ(inspected["tensors"][0]["dtype"], "f16");
  EXPECT_EQ(inspected["config"]["n_layer"], 3);
  figures({"import", sharded, "-o", path("whole"), "--tokenizer", "none"});
  EXPECT_EQ(figures({"inspect", path("whole")})["numbers"], inspected["numbers"]);
}

TEST_F(ConvertCommand, TrainingBeginsFromAShardedFolder) {
  std::ofstream(directory_ / "text.txt") << [] {
    std::string text;
    for (int i = 0; i < 400; ++i) text += static_cast<char>('a' + (i * i + i / 7) % 23);
    return text + "abcdefghijklmnopqrstuvw";
  }();
  const std::string data = path("data"), run = path("run");
  ASSERT_EQ(
      llm({"data", "prepare", path("text.txt"), "--tokenizer", "chars", "-o", data}).exit_code, 0);
  const ProcessResult trained =
      llm({"pretrain", "--data", data, "-o", run, "--init", (kModels / "sharded_f16").string(),
           "--steps", "1", "--batch", "2", "--device", "cpu"});
  EXPECT_EQ(trained.exit_code, 0) << trained.err;
  EXPECT_EQ(read_model_config(run).layers, 3);
  EXPECT_FALSE(read_model_config(run).tied);
}

TEST_F(ConvertCommand, AFileOfHuggingFaceWithoutItsConfig) {
  fs::create_directory(directory_ / "alone");
  fs::copy(model_ / "model.safetensors", directory_ / "alone");
  const std::string file = path("alone/model.safetensors");
  expect_exit(2, "--heads", {"import", file, "-o", path("x")});
  figures({"import", file, "-o", path("y"), "--heads", "3"});
  EXPECT_TRUE(weights(path("y")) == weights(model_));
  // And with the config.json beside it.
  figures({"import", (model_ / "model.safetensors").string(), "-o", path("z")});
  EXPECT_TRUE(read_text_file(directory_ / "z/config.json") ==
              read_text_file(model_ / "config.json"));
}

TEST_F(ConvertCommand, InspectTellsWhatAFileIs) {
  const Json book = figures({"inspect", (kModels / "book/model.pth").string()});
  EXPECT_EQ(book["format"], "PyTorch state dict");
  EXPECT_EQ(book["names"], "GPTModel of the book");
  EXPECT_FALSE(book.contains("config"));
  const Json llm_c = figures({"inspect", (kModels / "llm_c_bf16/model.bin").string()});
  EXPECT_EQ(llm_c["format"], "llm.c, version 5");
  EXPECT_EQ(llm_c["config"]["n_head"], 3);
  EXPECT_EQ(llm_c["numbers"], llm_c["parameters"]);
  const ProcessResult text = llm({"inspect", (kModels / "book/model.pth").string()});
  EXPECT_NE(text.out.find("trf_blocks.1.att.W_query.weight"), std::string::npos);
  EXPECT_NE(text.out.find("(15, 15)"), std::string::npos);
  expect_exit(3, "nothing.pth", {"inspect", path("nothing.pth")});
}

TEST_F(ConvertCommand, FactsThatTheFileDoesNotHoldAreAskedFor) {
  const std::string book = (kModels / "book/model.pth").string();
  expect_exit(2, "--heads", {"import", book, "-o", path("out")});
  expect_exit(2, "15 channels", {"import", book, "-o", path("out"), "--heads", "4"});
  EXPECT_FALSE(fs::exists(path("out")));
  EXPECT_EQ(llm({"import", book, "-o", path("out"), "--heads", "5"}).exit_code, 0);
  EXPECT_EQ(read_model_config(path("out")).heads, 5);
  EXPECT_FALSE(read_model_config(path("out")).qkv_bias);
  expect_exit(2, "4, but", {"import", path("out"), "-o", path("x"), "--heads", "4"});
  expect_exit(2, "--untied",
              {"import", (kModels / "llm_c_f32/model.bin").string(), "-o", path("x"), "--untied"});
  // A config.json tells all; the tensors must fit it.
  const std::string config = path("out/config.json");
  EXPECT_EQ(llm({"import", book, "-o", path("again"), "--config", config}).exit_code, 0);
  EXPECT_TRUE(weights(path("again")) == weights(path("out")));
  expect_exit(3, "\"tok_emb.weight\" has shape (23, 15)",
              {"import", book, "-o", path("x"), "--config", (model_ / "config.json").string()});
}

TEST_F(ConvertCommand, AnEqualOutputLayerCanBeKept) {
  const std::string book = (kModels / "book_checkpoint/model.pth").string();
  EXPECT_EQ(figures({"import", book, "-o", path("a"), "--heads", "3"})["tied"], true);
  const Json untied = figures({"import", book, "-o", path("b"), "--heads", "3", "--untied"});
  EXPECT_EQ(untied["tied"], false);
  EXPECT_GT(weights(path("b")).size(), weights(path("a")).size());
}

TEST_F(ConvertCommand, WrongArgumentsAreRefused) {
  const std::string model = model_.string();
  expect_exit(2, "--format", {"export", model, "-o", path("x"), "--format", "gguf"});
  expect_exit(2, "--dtype", {"export", model, "-o", path("x"), "--dtype", "f64"});
  expect_exit(2, "f16", {"export", model, "-o", path("x"), "--format", "llm.c", "--dtype", "f16"});
  expect_exit(2, "not empty", {"export", model, "-o", model});
  expect_exit(2, "not empty", {"import", model, "-o", model});
  expect_exit(2, "is a file", {"export", model, "-o", (model_ / "config.json").string()});
  expect_exit(3, "absent", {"export", path("absent"), "-o", path("x")});
  expect_exit(3, "absent", {"import", path("absent"), "-o", path("x")});
  expect_exit(3, "config.json", {"import", (model_ / "config.json").string(), "-o", path("x")});
  expect_exit(2, "-o", {"import", model});
  EXPECT_FALSE(fs::exists(path("x")));
  // Into a folder that is not empty where that is wanted.
  EXPECT_EQ(llm({"export", model, "-o", path("y")}).exit_code, 0);
  EXPECT_EQ(llm({"export", model, "-o", path("y"), "--force", "--dtype", "bf16"}).exit_code, 0);
  EXPECT_LT(weights(path("y")).size(), weights(model).size());
}

TEST_F(ConvertCommand, AnotherTokenizerOrNone) {
  const std::string llmc = (kModels / "llm_c_f32/model.bin").string();
  const ProcessResult none = llm({"import", llmc, "-o", path("a")});
  EXPECT_EQ(none.exit_code, 0);
  EXPECT_NE(none.err.find("no tokenizer"), std::string::npos);
  expect_exit(3, "a vocabulary of 23", {"import", llmc, "-o", path("b"), "--tokenizer", "bytes"});
  EXPECT_EQ(llm({"export", model_.string(), "-o", path("c"), "--tokenizer", "none"}).exit_code, 0);
  EXPECT_EQ(read_model_tokenizer(path("c")), nullptr);
}

TEST_F(ConvertCommand, AnotherTokenizerBringsItsEndOfText) {
  EXPECT_NE(read_model_config(model_).eos_token_id, 256);
  EXPECT_EQ(llm({"export", model_.string(), "-o", path("a"), "--tokenizer", "bytes"}).exit_code, 0);
  EXPECT_EQ(read_model_config(path("a")).eos_token_id, 256);
}

TEST_F(ConvertCommand, NothingOfAnotherTokenizerStays) {
  const fs::path out = directory_ / "out";
  const std::vector<std::string> export_to = {"export", model_.string(), "-o", out.string(),
                                              "--force"};
  const auto with_others = [&] {
    fs::remove_all(out);
    fs::create_directories(out);
    for (const char* name : {"vocab.json", "merges.txt", "added_tokens.json", "tokenizer.json",
                             "tokenizer_config.json", "notes.txt"}) {
      std::ofstream(out / name) << "of another model";
    }
  };
  with_others();
  ASSERT_EQ(llm(export_to).exit_code, 0);
  for (const char* name : {"vocab.json", "merges.txt", "added_tokens.json"}) {
    EXPECT_FALSE(fs::exists(out / name)) << name;
  }
  EXPECT_TRUE(fs::exists(out / "notes.txt"));
  EXPECT_EQ(load_tokenizer(out)->kind(), "bytes");
  with_others();
  std::vector<std::string> without = export_to;
  without.insert(without.end(), {"--tokenizer", "none"});
  ASSERT_EQ(llm(without).exit_code, 0);
  EXPECT_FALSE(fs::exists(out / "tokenizer.json"));
  EXPECT_FALSE(fs::exists(out / "tokenizer_config.json"));
}

TEST_F(ConvertCommand, WeightsOfAnotherModelAreNotLeftBeside) {
  const std::string model = model_.string();
  const std::vector<std::string> to_other = {"export", model, "-o", path("other"), "--force"};
  const auto in_format = [&](const char* format) {
    std::vector<std::string> arguments = to_other;
    arguments.insert(arguments.end(), {"--format", format});
    return arguments;
  };
  ASSERT_EQ(llm({"export", model, "-o", path("other")}).exit_code, 0);
  expect_exit(2, "has model.safetensors", in_format("book"));
  expect_exit(2, "has model.safetensors", in_format("llm.c"));
  EXPECT_FALSE(fs::exists(directory_ / "other/model.pth"));
  // The weights beside are the same model's.
  EXPECT_EQ(
      llm({"export", path("other"), "-o", path("other"), "--force", "--format", "book"}).exit_code,
      0);
  std::ofstream(directory_ / "other/adapter_config.json") << "{}";
  expect_exit(2, "has adapter_config.json", to_other);
}

TEST_F(ConvertCommand, WhatATokenizerIsSaidToBeComesAlong) {
  const fs::path source = directory_ / "source";
  ASSERT_EQ(llm({"export", model_.string(), "-o", source.string()}).exit_code, 0);
  std::ofstream(source / "tokenizer_config.json")
      << R"({"pad_token": "<|endoftext|>", "unk_token": {"content": "<|endoftext|>"},
             "eos_token": "<none>"})";
  std::ofstream(source / "chat_template.jinja") << "{{ '<|im_start|>' }}";
  ASSERT_EQ(llm({"export", source.string(), "-o", path("out")}).exit_code, 0);
  const Json config = read_json_file(path("out/tokenizer_config.json"));
  for (const char* key : {"pad_token", "unk_token", "eos_token", "bos_token"}) {
    EXPECT_EQ(config[key], "<|endoftext|>") << key;
  }
  EXPECT_EQ(config["chat_template"], "{{ '<|im_start|>' }}");
  // Those of another tokenizer do not.
  ASSERT_EQ(llm({"export", source.string(), "-o", path("bytes"), "--tokenizer", "bytes"}).exit_code,
            0);
  EXPECT_FALSE(read_json_file(path("bytes/tokenizer_config.json")).contains("pad_token"));
}

TEST_F(ConvertCommand, WeightsThatAreNoNumbersAreAWarning) {
  const ProcessResult sound = llm({"import", model_.string(), "-o", path("sound"), "--json"});
  EXPECT_EQ(sound.err.find("NaN"), std::string::npos) << sound.err;
  std::string bytes = weights(model_);
  for (size_t i = 0; i < 8; ++i) bytes[bytes.size() - 1 - i] = '\xff';  // the last two are NaN
  std::ofstream(model_ / "model.safetensors") << bytes;
  const ProcessResult result = llm({"import", model_.string(), "-o", path("out")});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.err.find("warning: 2 of "), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("NaN or infinite, the first in ln_f.bias"), std::string::npos)
      << result.err;
}

TEST_F(ConvertCommand, ARunIsNotReplaced) {
  fs::create_directory(path("run"));
  std::ofstream(path("run/run.json")) << "{}";
  expect_exit(2, "folder of a run", {"export", model_.string(), "-o", path("run"), "--force"});
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// A model of 124 MiB goes through in pieces, and is in memory once to generate.
TEST_F(ConvertCommand, MemoryHoldsPiecesOrTheModelOnce) {
  ModelConfig config = test::golden_config();
  config.vocab_size = 257 * 490;
  config.channels = 240;
  config.hidden = 960;
  {
    const auto backend = make_cpu_backend();
    Gpt model(*backend, config, {});
    model.parameters().initialize(1);
    write_model_folder(path("large"), model, make_byte_tokenizer().get());
  }
  const auto bytes = static_cast<int64_t>(fs::file_size(directory_ / "large/model.safetensors"));
  ASSERT_GT(bytes, 120 << 20);
  const auto largest = [] {  // of all programs that this test started, in bytes
    rusage usage{};
    getrusage(RUSAGE_CHILDREN, &usage);
    return int64_t{usage.ru_maxrss} << 10;
  };
  figures({"export", path("large"), "-o", path("half"), "--dtype", "bf16"});
  figures({"export", path("half"), "-o", path("book"), "--format", "book"});
  figures({"import", path("book"), "-o", path("again"), "--heads", "3"});
  EXPECT_LT(largest(), 100 << 20);
  EXPECT_TRUE(weights(path("again")) == weights(path("half")));
  figures({"generate", path("large"), "-p", "a", "-n", "1", "--device", "cpu"});
  EXPECT_LT(largest(), bytes + (100 << 20));
}
#endif

TEST_F(ConvertCommand, AFullDiskLeavesNothingHalf) {
  test::ProcessOptions options;
  for (const char* format : {"hugging-face", "book", "llm.c"}) {
    options.environment = {"LLM_FAULT=fail:3+"};
    const ProcessResult result =
        test::run_llm({"export", model_.string(), "-o", path("x"), "--format", format}, options);
    EXPECT_EQ(result.exit_code, 4) << result.err;
    for (const auto& entry : fs::directory_iterator(path("x"))) ADD_FAILURE() << entry.path();
    fs::remove_all(path("x"));
  }
}

TEST_F(ConvertCommand, TheTemplateAModelWasTaughtInComesAlong) {
  write_chat_file(model_, ChatTemplate::alpaca);
  figures({"export", model_.string(), "-o", path("out")});
  EXPECT_EQ(read_chat_template(path("out")), ChatTemplate::alpaca);
  figures({"import", path("out"), "-o", path("in")});
  EXPECT_EQ(read_chat_template(path("in")), ChatTemplate::alpaca);
  fs::remove(model_ / kChatFile);
  figures({"export", model_.string(), "-o", path("out"), "--force"});
  EXPECT_FALSE(fs::exists(directory_ / "out" / kChatFile));
}

}  // namespace
}  // namespace llm
