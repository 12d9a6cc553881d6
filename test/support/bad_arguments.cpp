// Bad command lines: numbers out of range, names that do not exist, places that cannot be written.
#include <limits>

#include "support/bad_input.h"

namespace llm::test {
namespace {

using Words = std::vector<std::string>;

// Commands that work with the options they get if `more` is empty.
Words pretrain(const Words& more) {
  return with_options({"pretrain"}, more,
                      {"--data", "d", "-o", "new", "--layers", "1", "--heads", "2", "--channels",
                       "8", "--context", "8", "--steps", "2"});
}
Words generate(const Words& more) {
  return with_options({"generate", "run"}, more, {"-p", "the", "-n", "2"});
}
Words prepare(const Words& more) {
  return with_options({"data", "prepare", "text.txt"}, more, {"--tokenizer", "chars", "-o", "new"});
}
Words train(const Words& more) {
  return with_options({"tokenizer", "train", "text.txt"}, more,
                      {"-o", "new", "--vocab-size", "300"});
}

std::vector<BadCase> general() {
  return {
      {"no command", {}, kUsage, {"subcommand is required", "llm --help"}},
      {"unknown command", {"frobnicate"}, kUsage, {"\"frobnicate\"", "llm --help"}},
      {"unknown option", pretrain({"--frob", "1"}), kUsage, {"--frob", "llm pretrain --help"}},
      {"no output", {"pretrain", "--data", "d"}, kUsage, {"--out", "llm pretrain --help"}},
      {"option twice", pretrain({"--lr", "1", "--lr", "2"}), kUsage, {"--lr", "more than once"}},
      {"no value", {"data", "prepare", "text.txt", "-o"}, kUsage, {"-o", "llm data prepare"}},
      {"empty output", pretrain({"-o", ""}), kUsage, {"--out", "empty"}},
      {"empty model", {"generate", ""}, kUsage, {"MODEL", "empty"}},
      {"empty file",
       {"tokenizer", "train", "text.txt", "", "-o", "new", "--vocab-size", "300"},
       kUsage,
       {"FILE", "empty"}},
      {"control characters", {"generate", "a\x1b[31m\nb"}, kInput, {"a\\x1b[31m\\x0ab"}},
      {"endless name", {"generate", std::string(5000, 'a')}, kInput, {"aaa", "too long"}},
  };
}

std::vector<BadCase> numbers_of_pretraining() {
  return {
      {"batch 0", pretrain({"--batch", "0"}), kUsage, {"--batch", "0 sequences", "auto"}},
      {"batch no number", pretrain({"--batch", "many"}), kUsage, {"--batch", "\"many\""}},
      {"lr nan", pretrain({"--lr", "nan"}), kUsage, {"--lr", "nan"}},
      {"lr infinite", pretrain({"--lr", "1e999"}), kUsage, {"--lr", "inf"}},
      {"lr negative", pretrain({"--lr", "-0.1"}), kUsage, {"--lr", "-0.1"}},
      {"min-lr above lr", pretrain({"--min-lr", "1"}), kUsage, {"--min-lr", "peak"}},
      {"steps negative", pretrain({"--steps", "-1"}), kUsage, {"--steps", "-1"}},
      {"steps fraction", pretrain({"--steps", "1.5"}), kUsage, {"--steps", "1.5"}},
      {"steps huge", pretrain({"--steps", "99999999999999999999"}), kUsage, {"--steps"}},
      {"steps that overflow", pretrain({"--steps", "9000000000000000000"}), kUsage, {"--steps"}},
      {"steps and epochs",
       pretrain({"--epochs", "1", "--steps", "1"}),
       kUsage,
       {"--epochs", "--steps"}},
      {"beta1", pretrain({"--beta1", "1"}), kUsage, {"--beta1", "[0, 1)"}},
      {"beta2 nan", pretrain({"--beta2", "nan"}), kUsage, {"--beta2", "nan"}},
      {"dropout", pretrain({"--dropout", "1"}), kUsage, {"dropout", "[0, 1)"}},
      {"warmup", pretrain({"--warmup", "3"}), kUsage, {"--warmup", "3 steps", "2"}},
      {"grad-clip", pretrain({"--grad-clip", "-1"}), kUsage, {"--grad-clip", "-1"}},
      {"keep", pretrain({"--keep", "1"}), kUsage, {"--keep", "at least two"}},
      {"eval-every", pretrain({"--eval-every", "-1"}), kUsage, {"--eval-every", "-1"}},
      {"seed negative", pretrain({"--seed", "-1"}), kUsage, {"--seed", "-1"}},
      {"seed no number", pretrain({"--seed", "x"}), kUsage, {"--seed", "x"}},
      {"timeout", pretrain({"--timeout", "0"}), kUsage, {"--timeout"}},
      {"length", pretrain({"--length", "9"}), kUsage, {"--length", "9 tokens", "8"}},
      {"total batch",
       pretrain({"--batch", "3", "--total-batch-tokens", "100"}),
       kUsage,
       {"--total-batch-tokens", "100 tokens", "for example 120"}},
      {"heads", pretrain({"--heads", "3"}), kUsage, {"8 channels", "3 heads"}},
      {"channels 0", pretrain({"--channels", "0"}), kUsage, {"channels is 0"}},
      {"layers", pretrain({"--layers", "1000000000"}), kUsage, {"layers is 1000000000"}},
      {"vocabulary",
       pretrain({"--vocab-size", "10"}),
       kInput,
       {"d/dataset.json", "23 tokens", "has 10"}},
      {"model too large",
       pretrain({"--layers", "200", "--channels", "16384"}),
       kMemory,
       {"needs", "free", "smaller"}},
      {"largest numbers",
       pretrain({"--layers", "10000", "--channels", "1048576", "--context", "16777216", "--length",
                 "8", "--batch", "1048576"}),
       kMemory,
       {"needs", "free", "smaller"}},
      {"preset too large",
       {"pretrain", "--data", "d", "-o", "new", "--model", "gpt3-175b", "--length", "8"},
       kMemory,
       {"needs", "free", "smaller"}},
      {"batch auto, model too large",
       pretrain({"--layers", "200", "--channels", "16384", "--batch", "auto"}),
       kMemory,
       {"--batch auto", "smaller model"}},
  };
}

std::vector<BadCase> names_of_pretraining() {
  return {
      {"schedule", pretrain({"--schedule", "zigzag"}), kUsage, {"--schedule", "zigzag", "cosine"}},
      {"on-spike", pretrain({"--on-spike", "cry"}), kUsage, {"--on-spike", "cry", "skip"}},
      {"dtype of a GPU",
       pretrain({"--device", "cpu", "--dtype", "tf32"}),
       kUsage,
       {"--dtype", "tf32", "f32"}},
      {"dtype", pretrain({"--dtype", "f8"}), kUsage, {"--dtype", "f8", "f32"}},
      {"attention", pretrain({"--attention", "flash"}), kUsage, {"--attention", "flash", "cudnn"}},
      {"device", pretrain({"--device", "tpu"}), kUsage, {"--device", "tpu", "cpu"}},
      {"no GPU", pretrain({"--device", "cuda"}), kDevice, {"--device", "cuda", "--device cpu"}},
      {"preset", pretrain({"--model", "gpt9"}), kUsage, {"--model", "gpt9", "gpt2-xl"}},
      {"no config", pretrain({"--model", "no.json"}), kInput, {"no.json", "config.json"}},
      {"no init", pretrain({"--init", "nowhere"}), kInput, {"nowhere", "folder"}},
      {"no data", pretrain({"--data", "nowhere"}), kInput, {"nowhere", "llm data prepare"}},
      {"data is no folder", pretrain({"--data", "text.txt"}), kInput, {"text.txt", "magic"}},
      {"data without weight",
       pretrain({"--data", "a=d:0"}),
       kUsage,
       {"--data", "\"0\"", "positive"}},
      {"data weight nan", pretrain({"--data", "a=d:nan"}), kUsage, {"--data", "nan", "positive"}},
      {"data twice",
       pretrain({"--data", "a=d", "a=d"}),
       kUsage,
       {"--data", "\"a\"", "a=DIR b=DIR"}},
      {"prompt",
       pretrain({"--sample-every", "1", "--prompt", "é"}),
       kUsage,
       {"--prompt", "U+00E9", "characters"}},
      {"output under a file", pretrain({"-o", "text.txt/new"}), kDisk, {"text.txt/new", "folder"}},
      {"output is a file", pretrain({"-o", "text.txt"}), kUsage, {"text.txt", "no folder"}},
      {"output where none can be", pretrain({"-o", "/proc/new"}), kDisk, {"/proc/new"}},
      {"run there already", pretrain({"-o", "run"}), kUsage, {"run", "--resume"}},
      {"folder not empty", pretrain({"-o", "tok"}), kUsage, {"tok", "not empty", "new folder"}},
  };
}

std::vector<BadCase> generation() {
  return {
      {"no tokens", generate({"-n", "0"}), kUsage, {"--tokens", "0", "llm generate --help"}},
      {"top-p", generate({"--top-p", "2"}), kUsage, {"--top-p", "2", "(0, 1]"}},
      {"generate dtype", generate({"--dtype", "f16"}), kUsage, {"--dtype", "f16", "bf16"}},
      {"top-p nan", generate({"--top-p", "nan"}), kUsage, {"--top-p", "nan"}},
      {"min-p", generate({"--min-p", "-1"}), kUsage, {"--min-p", "-1"}},
      {"temperature", generate({"--temperature", "-1"}), kUsage, {"--temperature", "-1"}},
      {"top-k", generate({"--top-k", "-1"}), kUsage, {"--top-k", "-1"}},
      {"penalty", generate({"--repetition-penalty", "0"}), kUsage, {"--repetition-penalty", "0"}},
      {"samples", generate({"--num-samples", "0"}), kUsage, {"--num-samples", "0"}},
      {"overflow", generate({"--context-overflow", "x"}), kUsage, {"--context-overflow", "slide"}},
      {"no model", {"generate", "nowhere"}, kInput, {"nowhere", "model folder"}},
      {"model is a file", {"generate", "text.txt"}, kInput, {"text.txt", "model folder"}},
      {"model is a dataset", {"generate", "d"}, kInput, {"d", "config.json"}},
      {"no GPU to generate", generate({"--device", "cuda:1"}), kDevice, {"cuda:1", "--device cpu"}},
      {"unknown character",
       {"generate", "run", "-p", "the é"},
       kUsage,
       {"--prompt", "U+00E9", "byte 4", "training text"}},
      {"long prompt",
       {"generate", "run", "-p", "the moon. the moon."},
       kUsage,
       {"--prompt", "19 tokens", "context is 8", "--context-overflow slide"}},
      {"no prompt file",
       {"generate", "run", "--prompt-file", "none.txt"},
       kInput,
       {"none.txt", "No such file"}},
      {"prompts from both",
       generate({"--prompt-file", "text.txt", "-p", "a"}),
       kUsage,
       {"--prompt-file"}},
      {"output full", generate({"-n", "2"}), kDisk, {"standard output", "space"}, {}, {}, true},
      {"report full", {"inspect", "run"}, kDisk, {"standard output", "space"}, {}, {}, true},
      {"dry run full", pretrain({"--dry-run"}), kDisk, {"standard output", "space"}, {}, {}, true},
  };
}

std::vector<BadCase> data_and_tokenizers() {
  return {
      {"no text",
       {"data", "prepare", "none.txt", "--tokenizer", "bytes", "-o", "new"},
       kInput,
       {"none.txt", "no such file"}},
      {"val-fraction", prepare({"--val-fraction", "1"}), kUsage, {"--val-fraction", "1"}},
      {"split", prepare({"--split", "words"}), kUsage, {"--split", "words", "chars"}},
      {"shard-tokens", prepare({"--shard-tokens", "0"}), kUsage, {"--shard-tokens", "0"}},
      {"language",
       prepare({"--language-filter", "Klingon"}),
       kUsage,
       {"--language-filter", "Klingon"}},
      {"language share",
       prepare({"--language-filter", "Latin:2"}),
       kUsage,
       {"--language-filter", "2"}},
      {"dataset there already", prepare({"-o", "d"}), kUsage, {"d: ", "not empty", "--force"}},
      {"dataset is a file", prepare({"-o", "text.txt"}), kUsage, {"text.txt", "folder"}},
      {"dataset under a file", prepare({"-o", "text.txt/d"}), kDisk, {"text.txt/d", "folder"}},
      {"gpt2 without files",
       {"data", "prepare", "text.txt", "--tokenizer", "gpt2", "-o", "new"},
       kUsage,
       {"--tokenizer", "gpt2", "--tokenizer-dir"}},
      {"stories", {"data", "synth", "-o", "new", "--stories", "-1"}, kUsage, {"--stories", "-1"}},
      {"corpus under a file",
       {"data", "synth", "-o", "text.txt/new", "--stories", "1"},
       kDisk,
       {"text.txt/new"}},
      {"vocabulary too small",
       train({"--vocab-size", "10"}),
       kUsage,
       {"--vocab-size", "10", "257"}},
      {"vocabulary too large", train({"--vocab-size", "99999999999"}), kUsage, {"--vocab-size"}},
      {"pattern", train({"--pattern", "x"}), kUsage, {"--pattern", "gpt2"}},
      {"special token empty", train({"--special", ""}), kUsage, {"--special", "empty"}},
      {"folder without text",
       {"tokenizer", "train", "d", "--vocab-size", "300", "-o", "new"},
       kInput,
       {"d: ", "no text found", ".jsonl"}},
      {"text cannot be read",  // by root neither
       {"tokenizer", "train", "/proc/self/mem", "--vocab-size", "300", "-o", "new"},
       kInput,
       {"/proc/self/mem", "Input/output error"}},
      {"no text at all",
       {"tokenizer", "train", "-", "--vocab-size", "300", "-o", "new"},
       kInput,
       {"standard input", "no text", "give"}},
      {"tokenizer under a file", train({"-o", "text.txt/new"}), kDisk, {"text.txt/new"}},
      {"no tokenizer",
       {"tokenizer", "encode", "--tokenizer", "nowhere", "a"},
       kUsage,
       {"--tokenizer", "nowhere", "folder"}},
      {"id beyond",
       {"tokenizer", "decode", "--tokenizer", "tok", "300"},
       kUsage,
       {"token id: 300", "vocabulary of 300"}},
      {"id negative", {"tokenizer", "decode", "--tokenizer", "tok", "-5"}, kUsage, {"-5"}},
      {"id too large",
       {"tokenizer", "decode", "--tokenizer", "tok", "99999999999"},
       kUsage,
       {"99999999999", "not a token id"}},
      {"id is a word",
       {"tokenizer", "decode", "--tokenizer", "tok"},
       kInput,
       {"standard input", "'two'", "numbers"},
       {},
       "1 two 3"},
      {"ids full",
       {"tokenizer", "encode", "--tokenizer", "tok", "the fox"},
       kDisk,
       {"standard output", "space"},
       {},
       {},
       true},
      {"picture nowhere",
       {"plot", "run", "-o", "nowhere/loss.svg"},
       kDisk,
       {"nowhere/loss.svg", "No such file"}},
      {"picture of another kind", {"plot", "run", "-o", "loss.png"}, kUsage, {"-o", ".svg"}},
      {"plot without a run", {"plot", "nowhere"}, kInput, {"nowhere"}},
      {"names", {"plot", "run", "--names", "a,b"}, kUsage, {"--names", "2 names for 1 run"}},
  };
}

std::vector<BadCase> checks_and_benchmarks() {
  return {
      {"no such op", {"check", "add", "frob"}, kUsage, {"OP", "\"frob\"", "layernorm_forward"}},
      {"check without a GPU", {"check", "--device", "cuda:9"}, kDevice, {"--device", "cuda:9"}},
      {"seed of a check", {"check", "--seed", "-1"}, kUsage, {"--seed", "-1"}},
      {"check full",
       {"check", "fill", "--quick", "--device", "cpu"},
       kDisk,
       {"standard output", "space"},
       {},
       {},
       true},
      {"bench of nothing", {"bench"}, kUsage, {"subcommand is required", "llm bench --help"}},
      {"bench of no op", {"bench", "ops", "frob"}, kUsage, {"\"frob\"", "layernorm_forward"}},
      {"bench rows", {"bench", "ops", "--rows", "0"}, kUsage, {"--rows", "0", "4,194,304"}},
      {"bench heads", {"bench", "ops", "--heads", "7"}, kUsage, {"--heads", "7", "768"}},
      {"bench dtype", {"bench", "ops", "--dtype", "f8"}, kUsage, {"--dtype", "f8", "bf16"}},
      {"bench length",
       {"bench", "ops", "--device", "cpu", "--rows", "100", "--length", "64"},
       kUsage,
       {"--length", "64", "100"}},
      {"bench too large",
       {"bench", "ops", "add", "--device", "cpu", "--rows", "4194304", "--channels", "98304"},
       kMemory,
       {"needs", "free"}},
  };
}

}  // namespace

std::vector<BadCase> bad_arguments() {
  std::vector<BadCase> all;
  for (const auto& part : {general(), numbers_of_pretraining(), names_of_pretraining(),
                           generation(), data_and_tokenizers(), checks_and_benchmarks()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

}  // namespace llm::test
