// llm tokenizer train | encode | decode
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "data/corpus_reader.h"
#include "text/bpe_trainer.h"
#include "text/pattern.h"
#include "text/special_tokens.h"
#include "text/tokenizer.h"
#include "text/word_counts.h"

namespace llm {
namespace {

class Stopwatch {
 public:
  double seconds() const { return seconds_since(start_); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Calls use(part) for the file's bytes in order; "-" is standard input.
template <typename Use>
void read_parts(const std::string& path, Use&& use) {
  FileReader reader(path);
  std::vector<char> block(4 << 20);
  while (const size_t size = reader.read(block)) use(std::string_view(block.data(), size));
}

std::string read_all(const std::string& path) {
  std::string text;
  read_parts(path, [&](std::string_view part) { text += part; });
  return text;
}

// --tokenizer and --tokenizer-dir, shared by encode and decode.
struct TokenizerChoice {
  std::string name, directory;

  void add_to(CLI::App& app) {
    app.add_option("--tokenizer", name,
                   "folder with tokenizer.json (or vocab.json and merges.txt), `gpt2` or `bytes`")
        ->required()
        ->type_name("T");
    app.add_option("--tokenizer-dir", directory, "folder with the files of `gpt2`")
        ->type_name("DIR");
  }
  std::unique_ptr<Tokenizer> open() const { return open_tokenizer(name, directory); }
};

int checked_threads(int threads) { return threads > 0 ? threads : thread_count(); }

struct TrainTokenizerOptions {
  std::vector<std::string> files, special;
  std::string directory, text_key = "text", pattern = "gpt2";
  int64_t vocab_size = 0, min_frequency = 1;
  int threads = 0;
  bool force = false, json = false;
};

// Each document of a JSONL file is a text of its own, any other file is one text.
void count_words(WordCounter& counter, const CorpusFile& file, const std::string& text_key,
                 Progress& progress) {
  const auto show = [&] {
    progress.show(
        fmt::format("counting words | {} | {} read", file.name, format_bytes(counter.bytes())));
  };
  if (!file.jsonl) {
    read_parts(file.path.string(), [&](std::string_view part) {
      counter.add(part);
      show();
    });
    return counter.end_text();
  }
  CorpusReader reader({file}, text_key, /*with_sha256=*/false);
  for (DocumentPart part; reader.next(part);) {
    counter.add(part.text);
    if (part.last) counter.end_text();
    show();
  }
}

void train(const TrainTokenizerOptions& options) {
  BpeTrainingOptions training;
  training.vocab_size = options.vocab_size;
  training.min_frequency = options.min_frequency;
  training.pattern = named_pattern(options.pattern);
  training.special_tokens = options.special;
  if (std::find(options.special.begin(), options.special.end(), kEndOfText) ==
      options.special.end()) {
    training.special_tokens.insert(training.special_tokens.begin(), std::string(kEndOfText));
  }
  train_bpe(WordTable(), training);  // refuses wrong options before the text is read
  require_no_files(options.directory, {"tokenizer.json", "vocab.json", "merges.txt"},
                   options.force);

  const Stopwatch total;
  Progress progress(!options.json);
  WordCounter counter(training.pattern, checked_threads(options.threads));
  const CorpusListing listing = list_corpus_files(options.files, CorpusFormat::by_name);
  for (const CorpusFile& file : listing.files) {
    count_words(counter, file, options.text_key, progress);
  }
  if (counter.bytes() == 0) {
    fail_input(listing.files.front().name, "there is no text to train on", "give files with text");
  }
  const WordTable words = counter.take_words();
  const double counting_seconds = total.seconds();
  BpeSpec spec = train_bpe(words, training, [&](int64_t done, int64_t wanted) {
    if (done % 64 == 0) {
      progress.show(fmt::format("merging | {}/{}", with_commas(done), with_commas(wanted)));
    }
  });
  progress.finish();
  const double seconds = total.seconds();
  const BpeTokenizer tokenizer(std::move(spec), "trained tokenizer");
  tokenizer.save(options.directory);

  const auto merges = static_cast<int64_t>(tokenizer.spec().merges.size());
  if (tokenizer.vocab_size() < options.vocab_size) {
    log_warning(fmt::format("the text gives {} tokens only, not {}",
                            with_commas(tokenizer.vocab_size()), with_commas(options.vocab_size)));
  }
  if (options.json) {
    print_json(Json{{"vocab_size", tokenizer.vocab_size()},
                    {"merges", merges},
                    {"bytes", counter.bytes()},
                    {"seconds", seconds},
                    {"counting_seconds", counting_seconds},
                    {"hash", tokenizer.hash()},
                    {"directory", options.directory}});
  } else {
    print(fmt::format("{} tokens ({} merges) from {} of text in {:.2f} s -> {}\n",
                      with_commas(tokenizer.vocab_size()), with_commas(merges),
                      format_bytes(counter.bytes()), seconds, options.directory));
  }
}

struct EncodeOptions {
  TokenizerChoice tokenizer;
  std::optional<std::string> text;
  std::string file = "-";
  int threads = 0;
  bool allow_special = false, count = false, json = false;
};

void encode(const EncodeOptions& options) {
  const std::unique_ptr<Tokenizer> tokenizer = options.tokenizer.open();
  const std::string text = options.text ? *options.text : read_all(options.file);
  std::vector<TokenId> ids;
  const Stopwatch time;
  tokenizer->encode_parallel(text, ids, checked_threads(options.threads), options.allow_special);
  const double seconds = time.seconds();
  fmt::memory_buffer line;
  if (options.count) {
    fmt::format_to(std::back_inserter(line), "{}\n", ids.size());
  } else {
    for (size_t i = 0; i < ids.size(); ++i) {
      fmt::format_to(std::back_inserter(line), "{}{}", i == 0 ? "" : " ", ids[i]);
    }
    line.push_back('\n');
  }
  if (options.json) {
    Json record{{"tokens", ids.size()}, {"bytes", text.size()}, {"seconds", seconds}};
    if (!options.count) record["ids"] = ids;
    print_json(record);
  } else {
    print({line.data(), line.size()});
  }
}

struct DecodeOptions {
  TokenizerChoice tokenizer;
  std::vector<std::string> ids;
};

void append_ids(std::string_view text, const std::string& where, std::vector<TokenId>& ids) {
  constexpr std::string_view kSpaces = " \t\r\n";
  for (size_t at = 0; (at = text.find_first_not_of(kSpaces, at)) != std::string_view::npos;) {
    const size_t end = std::min(text.find_first_of(kSpaces, at), text.size());
    const std::string_view word = text.substr(at, end - at);
    TokenId id = 0;
    const auto [rest, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (error != std::errc() || rest != word.data() + word.size() || id < 0) {
      fail_usage(where, fmt::format("'{}' is not a token id", word.substr(0, 40)),
                 "ids are numbers with spaces between");
    }
    ids.push_back(id);
    at = end;
  }
}

void decode(const DecodeOptions& options) {
  const std::unique_ptr<Tokenizer> tokenizer = options.tokenizer.open();
  std::vector<TokenId> ids;
  for (const std::string& id : options.ids) append_ids(id, "ID", ids);
  if (!options.ids.empty()) return print(tokenizer->decode(ids));
  std::string text;
  try {
    append_ids(read_all("-"), "standard input", ids);
    text = tokenizer->decode(ids);
  } catch (const Error& error) {  // what is read is a file, not the command line
    fail_input("standard input", error.problem(), error.hint());
  }
  print(text);
}

void add_train(CLI::App& app) {
  auto options = std::make_shared<TrainTokenizerOptions>();
  CLI::App* command = app.add_subcommand("train", "learn a byte-level BPE vocabulary from text");
  command
      ->add_option("FILE", options->files,
                   "text (.txt), JSONL (.jsonl) or folders of them; - is standard input")
      ->required();
  command->add_option("--text-key", options->text_key, "key of the text in JSONL")
      ->capture_default_str()
      ->type_name("KEY");
  command
      ->add_option("--vocab-size", options->vocab_size,
                   "tokens in all: special tokens, 256 bytes and merges")
      ->required()
      ->type_name("N");
  command->add_option("-o,--out", options->directory, "folder for the tokenizer's files")
      ->required()
      ->type_name("DIR");
  command->add_flag("--force", options->force, "replace the tokenizer that is in the folder");
  command
      ->add_option("--pattern", options->pattern,
                   "how text is cut into words: gpt2, cl100k or llama3")
      ->capture_default_str()
      ->type_name("NAME");
  command
      ->add_option("--special", options->special,
                   "special tokens, after <|endoftext|>, which is always there; they get the "
                   "first ids")
      ->type_name("TOKEN...");
  command
      ->add_option("--min-frequency", options->min_frequency,
                   "pairs that come less often are not merged")
      ->capture_default_str()
      ->check(CLI::PositiveNumber)
      ->type_name("N");
  command->add_option("--threads", options->threads, "threads (default: all cores)")
      ->check(CLI::NonNegativeNumber)
      ->type_name("N");
  command->add_flag("--json", options->json, "print the figures as one JSON line");
  command->footer("Example: llm tokenizer train input.txt --vocab-size 4096 -o my-tokenizer");
  command->callback([options] { train(*options); });
}

void add_encode(CLI::App& app) {
  auto options = std::make_shared<EncodeOptions>();
  CLI::App* command = app.add_subcommand("encode", "text -> token ids on one line");
  options->tokenizer.add_to(*command);
  auto* text = command->add_option("TEXT", options->text, "the text (default: standard input)");
  command->add_option("--file", options->file, "read the text from a file")
      ->capture_default_str()
      ->type_name("F")
      ->excludes(text);
  command->add_flag("--allow-special", options->allow_special,
                    "special tokens in the text become their ids instead of ordinary text");
  command->add_flag("--count", options->count, "print the number of tokens only");
  command->add_option("--threads", options->threads, "threads (default: all cores)")
      ->check(CLI::NonNegativeNumber)
      ->type_name("N");
  command->add_flag("--json", options->json, "print ids and figures as one JSON line");
  command->footer("Example: llm tokenizer encode --tokenizer my-tokenizer \"Hello there\"");
  command->callback([options] { encode(*options); });
}

void add_decode(CLI::App& app) {
  auto options = std::make_shared<DecodeOptions>();
  CLI::App* command = app.add_subcommand("decode", "token ids -> the exact bytes");
  options->tokenizer.add_to(*command);
  command->add_option("ID", options->ids, "token ids (default: from standard input)");
  command->footer("Example: llm tokenizer decode --tokenizer my-tokenizer 15496 612");
  command->callback([options] { decode(*options); });
}

}  // namespace

void add_tokenizer_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("tokenizer", "train a tokenizer, encode, decode");
  command->require_subcommand(1);
  command->footer("Example: llm tokenizer train my.txt --vocab-size 8000 -o my-tokenizer");
  add_train(*command);
  add_encode(*command);
  add_decode(*command);
}

}  // namespace llm
