// llm data prepare
#include <fmt/format.h>

#include <map>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "cli/data_command.h"
#include "cli/output.h"
#include "data/prepare.h"

namespace llm {
namespace {

struct PrepareCommand {
  PrepareOptions options;
  std::string format = "auto", split, invalid_utf8 = "replace", language;
  std::string tokenizer_dir, output;
  bool keep_control = false, json = false;
  int threads = 0;
};

// Names of choices; the options check that the name is one of them.
const std::map<std::string, CorpusFormat> kFormats = {
    {"auto", CorpusFormat::by_name}, {"text", CorpusFormat::text}, {"jsonl", CorpusFormat::jsonl}};
const std::map<std::string, SplitUnit> kSplits = {{"", SplitUnit::automatic},
                                                  {"chars", SplitUnit::characters},
                                                  {"documents", SplitUnit::documents}};
const std::map<std::string, InvalidUtf8> kInvalidUtf8 = {{"replace", InvalidUtf8::replace},
                                                         {"drop", InvalidUtf8::drop},
                                                         {"keep", InvalidUtf8::keep},
                                                         {"refuse", InvalidUtf8::refuse}};

void print_removed(const FilterReport& report, const FilterOptions& options) {
  static constexpr const char* kInvalidDone[] = {"replaced by U+FFFD", "dropped", "kept", ""};
  std::string text = "filters\n";
  const auto line = [&](const char* name, const std::string& what) {
    text += fmt::format("  {:<19} {}\n", name, what);
  };
  line("invalid UTF-8", fmt::format("{} {}", counted(report.invalid_bytes, "byte"),
                                    kInvalidDone[static_cast<int>(options.invalid_utf8)]));
  if (options.remove_control) {
    line("control characters", fmt::format("{} removed", with_commas(report.control_characters)));
    line("format characters", fmt::format("{} removed", with_commas(report.format_characters)));
    line("line ends", fmt::format("{} made line feeds", with_commas(report.line_ends)));
  }
  const auto removed = [&](const char* name, const Removed& what) {
    line(name, fmt::format("{} removed, {}", counted(what.documents, "document"),
                           counted(what.characters, "character")));
  };
  removed("empty", report.empty);
  if (options.min_chars > 0) removed("--min-chars", report.short_documents);
  if (!options.language.scripts.empty()) removed("--language-filter", report.other_language);
  if (options.deduplicate) removed("--dedup", report.duplicates);
  print(text);
}

void print_split(const char* name, const SplitRecord& split) {
  const double ratio =
      split.tokens > 0 ? static_cast<double>(split.bytes) / static_cast<double>(split.tokens) : 0.0;
  print(fmt::format(
      "{:<6} {} in {}: {}, {}, {:.2f} bytes per token\n", name, counted(split.tokens, "token"),
      counted(static_cast<int64_t>(split.files.size()), "file"),
      counted(split.documents, "document"), counted(split.characters, "character"), ratio));
}

Json figures_of(const PrepareSummary& summary) {
  Json figures;
  for (const auto& [name, split] :
       {std::pair<std::string, const SplitRecord&>{"train", summary.train}, {"val", summary.val}}) {
    figures[name + "_tokens"] = split.tokens;
    figures[name + "_documents"] = split.documents;
    figures[name + "_characters"] = split.characters;
    figures[name + "_bytes"] = split.bytes;
    figures[name + "_files"] = split.files.size();
  }
  figures["vocab_size"] = summary.vocab_size;
  figures["tokenizer"] = summary.tokenizer_kind;
  figures["tokenizer_hash"] = summary.tokenizer_hash;
  figures["split"] = summary.split_unit;
  figures["files"] = summary.files;
  figures["skipped_files"] = summary.skipped_files;
  figures["input_bytes"] = summary.input_bytes;
  figures["removed"] = to_json(summary.filters);
  figures["seconds"] = summary.seconds;
  return figures;
}

void prepare(PrepareCommand& command) {
  PrepareOptions& options = command.options;
  options.format = kFormats.at(command.format);
  options.split = kSplits.at(command.split);
  options.tokenizer_dir = command.tokenizer_dir;
  options.output = command.output;
  options.filters.invalid_utf8 = kInvalidUtf8.at(command.invalid_utf8);
  options.filters.remove_control = !command.keep_control;
  if (!command.language.empty()) options.filters.language = parse_language_filter(command.language);
  options.threads = command.threads > 0 ? command.threads : thread_count();

  const PrepareSummary summary = prepare_dataset(options);
  print_removed(summary.filters, options.filters);
  print_split("train", summary.train);
  if (summary.val.tokens > 0) print_split("val", summary.val);
  print(fmt::format("{}: {} of {} in {:.1f} s, tokenizer {} with {}\n", command.output,
                    format_bytes(summary.input_bytes), counted(summary.files, "file"),
                    summary.seconds, summary.tokenizer_kind, counted(summary.vocab_size, "token")));
  if (command.json) print_json(figures_of(summary));
}

void add_filters(CLI::App& app, PrepareCommand& command) {
  FilterOptions& filters = command.options.filters;
  app.add_option("--invalid-utf8", command.invalid_utf8,
                 "bytes that are not UTF-8: replace (by U+FFFD), drop, keep or refuse")
      ->check(CLI::IsMember(kInvalidUtf8))
      ->type_name("WHAT")
      ->group("Filters");
  app.add_flag("--keep-control", command.keep_control,
               "keep control and format characters; otherwise they are removed (tabs, line feeds "
               "and the joiners U+200C and U+200D stay, other line ends become line feeds)")
      ->group("Filters");
  app.add_option("--min-chars", filters.min_chars, "documents with fewer characters are removed")
      ->check(CLI::NonNegativeNumber)
      ->type_name("N")
      ->group("Filters");
  app.add_option("--language-filter", command.language,
                 "documents with a smaller share of their letters in these Unicode scripts are "
                 "removed: SCRIPT[,SCRIPT...][:SHARE], SHARE from 0 to 1, 0.5 if not given")
      ->type_name("SCRIPTS")
      ->group("Filters");
  app.add_flag("--dedup", filters.deduplicate,
               "of documents with exactly the same text only the first stays")
      ->group("Filters");
}

void add_split(CLI::App& app, PrepareCommand& command) {
  PrepareOptions& options = command.options;
  CLI::Option* fraction =
      app.add_option("--val-fraction", options.val_fraction,
                     "the last part of the text that is for validation; 0: none")
          ->check(CLI::Range(0.0, 0.999999))
          ->type_name("FRACTION")
          ->group("Validation");
  CLI::Option* val_file =
      app.add_option("--val-file", options.val_inputs, "validation from these files instead")
          ->type_name("F...")
          ->group("Validation");
  fraction->excludes(val_file);
  app.add_option("--split", command.split,
                 "what the fraction counts: chars (exactly, even amid a document) or documents; "
                 "default: documents where at least 10 of them go to validation, else chars")
      ->check(CLI::IsMember({"chars", "documents"}))
      ->capture_default_str()
      ->type_name("UNIT")
      ->group("Validation");
}

}  // namespace

void add_data_prepare_command(CLI::App& app) {
  auto command = std::make_shared<PrepareCommand>();
  CLI::App* prepare_app =
      app.add_subcommand("prepare", "text -> a dataset folder: token shards and dataset.json");
  PrepareOptions& options = command->options;
  prepare_app
      ->add_option("FILE", options.inputs,
                   "text (.txt), JSONL (.jsonl) or folders of them; - is standard input")
      ->required();
  prepare_app
      ->add_option("--tokenizer", options.tokenizer,
                   "folder with a tokenizer, `gpt2`, `bytes`, or `chars`: one token per character "
                   "of the text")
      ->required()
      ->type_name("T");
  prepare_app
      ->add_option("--tokenizer-dir", command->tokenizer_dir, "folder with the files of `gpt2`")
      ->type_name("DIR");
  prepare_app->add_option("-o,--out", command->output, "the dataset folder")
      ->required()
      ->type_name("DIR");
  prepare_app->add_flag("--force", options.force, "replace the dataset that is in the folder");
  prepare_app
      ->add_option("--format", command->format,
                   "text or jsonl; auto goes by the file's name, standard input is text")
      ->check(CLI::IsMember(kFormats))
      ->type_name("FORMAT");
  prepare_app->add_option("--text-key", options.text_key, "key of the text in JSONL")
      ->type_name("KEY");
  prepare_app->add_flag(
      "--allow-special", options.allow_special,
      "special tokens in the text, such as <|endoftext|>, become their ids instead of "
      "ordinary text");
  prepare_app->add_option("--shard-tokens", options.shard_tokens, "tokens per file")
      ->check(CLI::Range(int64_t{1}, kMaxShardTokens))
      ->type_name("N");
  prepare_app->add_option("--threads", command->threads, "threads; 0: all cores")
      ->check(CLI::Range(0, 4096))
      ->type_name("N");
  prepare_app->add_flag("--json", command->json, "print the figures as a last line of JSON");
  add_split(*prepare_app, *command);
  add_filters(*prepare_app, *command);
  prepare_app->footer(
      "Example: llm data prepare corpus/ --tokenizer my-tokenizer --dedup --min-chars 100 -o "
      "data/corpus");
  prepare_app->callback([command] { prepare(*command); });
}

}  // namespace llm
