// llm classify
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/line_reader.h"
#include "cli/model_arguments.h"
#include "cli/output.h"
#include "data/classifiable_texts.h"
#include "infer/classifier.h"
#include "infer/text_stream.h"
#include "text/unicode.h"
#include "train/confusion.h"

namespace llm {
namespace {

// Of tokens that are computed together unless --batch says otherwise.
constexpr int64_t kHostTokensAtOnce = 4096, kDeviceTokensAtOnce = 65536, kMostTexts = 4096;

struct ClassifyArguments {
  ModelArguments model;
  std::optional<std::string> text;
  std::string file, text_column, label_column, quoting;
  std::optional<int64_t> max_length, batch;
  bool header = false, no_header = false, skip_bad_rows = false, quiet = false, json = false;
};

void check_classify_arguments(const ClassifyArguments& arguments) {
  if (!arguments.file.empty()) {
    if (arguments.text) fail_usage("TEXT", "is given, and --file, too; which one is meant?");
    return;
  }
  const std::pair<bool, const char*> of_a_file[] = {
      {!arguments.text_column.empty(), "--text-column"},
      {!arguments.label_column.empty(), "--label-column"},
      {!arguments.quoting.empty(), "--quoting"},
      {arguments.header || arguments.no_header, "--header"},
      {arguments.skip_bad_rows, "--skip-bad-rows"},
      {arguments.quiet, "--quiet"},
      {arguments.batch.has_value(), "--batch"},
  };
  for (const auto& [given, option] : of_a_file) {
    if (given) fail_usage(option, "is of a file, and --file is not given");
  }
}

// A model that is asked for labels.
struct Asked {
  const OpenedModel& opened;
  const LabelSet& labels;
  Gpt& model;
  int64_t max_length;

  TokenId pad_id() const {
    if (opened.config.eos_token_id >= 0) return static_cast<TokenId>(opened.config.eos_token_id);
    return opened.tokenizer->end_of_text().value_or(0);
  }
  TokenizedExamples tokenize(std::span<const LabeledText> texts, const std::string& name,
                             BadRows& bad) const {
    return tokenize_texts(*opened.tokenizer, texts, labels, max_length, TooLong::truncate, name,
                          bad);
  }
};

// Of a model that looks at the end of the row, the length of rows; else of the longest text.
int64_t longest_of(const OpenedModel& opened, const ClassifyArguments& arguments) {
  const ModelConfig& config = opened.config;
  const bool fixed = config.pooling == Pooling::last;
  if (fixed && config.pad_length == 0 && !arguments.max_length) {
    fail_usage("--max-length",
               "this classifier looks at the end of the row, padding or not, so the rows must be "
               "as long as in its training",
               "give the length that it was trained with");
  }
  const int64_t own = fixed && config.pad_length > 0 ? config.pad_length : config.context;
  const int64_t length = arguments.max_length.value_or(own);
  if (fixed && config.pad_length > 0 && length != own) {
    fail_usage("--max-length",
               fmt::format("{} tokens, but this classifier looks at the end of rows of {}",
                           with_commas(length), with_commas(own)),
               "leave it out");
  }
  if (length > config.context) {
    fail_usage("--max-length", fmt::format("{} tokens, but the model's context is {}",
                                           with_commas(length), with_commas(config.context)));
  }
  return length;
}

Json probabilities_json(const LabelProbabilities& probabilities, const LabelSet& labels) {
  const auto label = likeliest(probabilities);
  Json json;
  json["label"] = labels.name(label);
  json["probability"] = probabilities[static_cast<size_t>(label)];
  json["probabilities"] = Json::object();
  for (int64_t i = 0; i < labels.size(); ++i) {
    json["probabilities"][labels.name(i)] = probabilities[static_cast<size_t>(i)];
  }
  return json;
}

// A label as people and programs that cut at tabs read it.
std::string shown_label(const std::string& label) {
  std::string shown = shown_text(label, /*terminal=*/true);
  std::replace_if(
      shown.begin(), shown.end(), [](char c) { return c == '\t' || c == '\n'; }, ' ');
  return shown;
}

std::string result_text(const LabelProbabilities& probabilities, const LabelSet& labels) {
  const auto label = likeliest(probabilities);
  return fmt::format("{}\t{:.4f}", shown_label(labels.name(label)),
                     probabilities[static_cast<size_t>(label)]);
}

// One text, and its result on one line.
void classify_text(const ClassifyArguments& arguments, const Asked& asked, Classifier& classifier,
                   const std::string& text, const std::string& where) {
  const LabeledText one{"", text, 1};
  BadRows bad(/*skip=*/true);  // its line number would be no help
  std::optional<TokenizedExamples> examples;
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) fail_usage(where, "is empty");
  if (valid_utf8_prefix(text) < text.size()) fail_usage(where, "has bytes that are no UTF-8");
  try {
    examples = asked.tokenize({&one, 1}, where, bad);
  } catch (const Error&) {
    if (bad.count() == 0) throw;
    const std::string& first = bad.first().front();  // "WHERE: line 1: WHAT"
    fail_usage(where, first.substr(text_place(where, 1).size() + 2));
  }
  if (examples->figures.truncated > 0) {
    log_warning(fmt::format("{}: {} tokens, of which the first {} count", where,
                            with_commas(examples->figures.longest), with_commas(asked.max_length)));
  }
  const LabelProbabilities result = classifier.classify(examples->examples).front();
  arguments.json ? print_json(probabilities_json(result, asked.labels))
                 : print(result_text(result, asked.labels) + "\n");
}

// Each line as it comes, until the end of standard input.
void classify_lines(const ClassifyArguments& arguments, const Asked& asked,
                    Classifier& classifier) {
  const bool interactive = isatty(STDIN_FILENO) == 1;
  if (interactive) log_info("a text on each line; Ctrl-D ends");
  LineReader reader;
  std::string line;
  while (reader.read(line) == LineReader::Event::line) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string where =
        fmt::format("standard input: line {}", with_commas(reader.line_number()));
    try {
      classify_text(arguments, asked, classifier, line, where);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::usage) throw;
      if (!interactive) fail_input(error.where(), error.problem(), error.hint());
      log_info(error.what());
    }
  }
}

ClassifiableTexts read_file(const ClassifyArguments& arguments, const LabelSet& labels) {
  ClassifiableTextOptions options;
  if (!arguments.quoting.empty()) options.quoting = quoting_named(arguments.quoting);
  options.header = arguments.header      ? Header::yes
                   : arguments.no_header ? Header::no
                                         : Header::by_content;
  options.label_column = arguments.label_column;
  options.text_column = arguments.text_column;
  options.labels = &labels;
  options.skip_bad_rows = arguments.skip_bad_rows;
  return read_classifiable_texts(arguments.file, options);
}

void report_texts(const std::string& name, const ClassifiableTexts& texts, const BadRows& bad,
                  const ExampleFigures& figures, int64_t max_length) {
  log_info(
      fmt::format("{}: {}; {}", name, texts.form, counted(std::ssize(texts.read.texts), "text")));
  const int64_t skipped = texts.read.bad.count() + bad.count();
  if (skipped > 0) {
    const BadRows& with_first = texts.read.bad.count() > 0 ? texts.read.bad : bad;
    log_warning(fmt::format("{} left out, the first: {}", counted(skipped, "bad row"),
                            with_first.first().front()));
  }
  if (figures.truncated > 0) {
    log_warning(fmt::format("{} cut to the first {} tokens; the longest had {}",
                            counted(figures.truncated, "text"), with_commas(max_length),
                            with_commas(figures.longest)));
  }
}

std::vector<LabelProbabilities> classify_all(Classifier& classifier,
                                             std::span<const TokenizedExample> examples) {
  Progress progress;
  const auto start = std::chrono::steady_clock::now();
  const auto all = std::ssize(examples);
  return classifier.classify(examples, [&](int64_t done) {
    const double rate = static_cast<double>(done) / std::max(seconds_since(start), 1e-9);
    progress.show(fmt::format("{}/{} texts | {:.1f}/s | {} left", with_commas(done),
                              with_commas(all), rate,
                              format_duration(static_cast<double>(all - done) / rate)));
  });
}

void print_rows(const ClassifyArguments& arguments, const LabelSet& labels,
                std::span<const TokenizedExample> examples,
                std::span<const LabelProbabilities> results) {
  for (size_t i = 0; i < examples.size(); ++i) {
    if (!arguments.json) {
      print(fmt::format("{}\t{}\n", examples[i].line, result_text(results[i], labels)));
      continue;
    }
    Json row;
    row["line"] = examples[i].line;
    row.update(probabilities_json(results[i], labels));
    if (examples[i].label >= 0) row["expected"] = labels.name(examples[i].label);
    print_json(row);
  }
}

// What is said of all texts together: how many got which label and, where the right ones are known,
// how many of them are right.
void print_summary(const ClassifyArguments& arguments, const LabelSet& labels, bool labeled,
                   std::span<const TokenizedExample> examples,
                   std::span<const LabelProbabilities> results) {
  ConfusionMatrix confusion(labels.size());
  std::vector<int64_t> counts(static_cast<size_t>(labels.size()), 0);
  for (size_t i = 0; i < examples.size(); ++i) {
    const int32_t label = likeliest(results[i]);
    ++counts[static_cast<size_t>(label)];
    if (labeled) confusion.add(examples[i].label, label);
  }
  if (arguments.json) {
    Json json;
    json["texts"] = examples.size();
    json["labels"] = Json::object();
    for (int64_t i = 0; i < labels.size(); ++i) {
      json["labels"][labels.name(i)] = counts[static_cast<size_t>(i)];
    }
    if (labeled) json.update(to_json(confusion, labels.names()));
    return print_json(json);
  }
  if (labeled) {
    print(fmt::format("accuracy {:.4f} ({} texts)\n{}", confusion.accuracy(),
                      with_commas(confusion.texts()), confusion_text(confusion, labels.names())));
    return;
  }
  if (!arguments.quiet) return;
  for (int64_t i = 0; i < labels.size(); ++i) {
    print(fmt::format("{}\t{}\n", shown_label(labels.name(i)), counts[static_cast<size_t>(i)]));
  }
}

void classify_file(const ClassifyArguments& arguments, const Asked& asked,
                   const ClassifiableTexts& texts) {
  const std::string name = input_name(arguments.file);
  BadRows bad(arguments.skip_bad_rows);
  const TokenizedExamples made = asked.tokenize(texts.read.texts, name, bad);
  report_texts(name, texts, bad, made.figures, asked.max_length);
  const bool fixed = asked.opened.config.pooling == Pooling::last;  // the length of rows
  const int64_t longest =
      fixed ? asked.max_length : std::min(made.figures.longest, asked.max_length);
  const int64_t at_once = asked.opened.backend->is_host() ? kHostTokensAtOnce : kDeviceTokensAtOnce;
  const int64_t batch = std::min<int64_t>(
      std::ssize(made.examples),
      arguments.batch.value_or(std::clamp<int64_t>(at_once / longest, 1, kMostTexts)));
  Classifier classifier(asked.model, batch, longest, asked.pad_id());
  const std::vector<LabelProbabilities> results = classify_all(classifier, made.examples);
  if (!arguments.quiet) print_rows(arguments, asked.labels, made.examples, results);
  print_summary(arguments, asked.labels, texts.labeled, made.examples, results);
}

void classify(const ClassifyArguments& arguments) {
  check_classify_arguments(arguments);
  const OpenedModel opened = open_model(arguments.model, ModelKind::classifier);
  const int64_t max_length = longest_of(opened, arguments);
  const LabelSet labels(opened.config.labels, opened.location.named().string());
  std::optional<ClassifiableTexts> texts;
  if (!arguments.file.empty()) texts = read_file(arguments, labels);
  const std::unique_ptr<Gpt> model = load_weights(opened);
  const Asked asked{opened, labels, *model, max_length};
  if (texts) return classify_file(arguments, asked, *texts);
  Classifier classifier(*model, 1, max_length, asked.pad_id());
  arguments.text ? classify_text(arguments, asked, classifier, *arguments.text, "TEXT")
                 : classify_lines(arguments, asked, classifier);
}

void add_file_options(CLI::App& command, ClassifyArguments& arguments) {
  const char* group = "Many texts";
  command
      .add_option("--file", arguments.file,
                  "table (comma- or tab-separated, told by its content) or a text on each line; - "
                  "is stdin. With right labels in it, accuracy and confusion matrix are printed")
      ->type_name("FILE")
      ->group(group);
  command
      .add_option("--text-column", arguments.text_column,
                  "of the texts: name, or number from 1 (default: by name, as text, message)")
      ->type_name("NAME|N")
      ->group(group);
  command
      .add_option("--label-column", arguments.label_column,
                  "of the right labels, or none (default: by name, as label, category)")
      ->type_name("NAME|N")
      ->group(group);
  command
      .add_option("--quoting", arguments.quoting,
                  "csv: quotes hold fields together; none (default: csv with commas, none with "
                  "tabs)")
      ->type_name("csv|none")
      ->group(group);
  auto* header = command.add_flag("--header", arguments.header, "the first row names the columns")
                     ->group(group);
  command
      .add_flag("--no-header", arguments.no_header,
                "it does not (default for both: told by what is in it)")
      ->excludes(header)
      ->group(group);
  command
      .add_flag("--skip-bad-rows", arguments.skip_bad_rows,
                "leave out rows without text, with another label, with broken quotes or bytes that "
                "are no UTF-8, instead of refusing the file")
      ->group(group);
  command.add_flag("--quiet", arguments.quiet, "only what is said of all texts together")
      ->group(group);
  command
      .add_option("--batch", arguments.batch,
                  "texts computed together (default: by their length, more on a GPU)")
      ->check(CLI::Range(int64_t{1}, kMostTexts))
      ->type_name("N")
      ->group(group);
}

}  // namespace

void add_classify_command(CLI::App& app) {
  auto* command = app.add_subcommand("classify", "label texts with a classifier");
  auto arguments = std::make_shared<ClassifyArguments>();
  add_model_options(*command, arguments->model);
  command->add_option("TEXT", arguments->text,
                      "text to label; without it and --file, each line of stdin");
  command
      ->add_option("--max-length", arguments->max_length,
                   "tokens of a text that count, its first ones (default: the model's context)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24))
      ->type_name("N");
  add_file_options(*command, *arguments);
  command->add_flag("--json", arguments->json,
                    "a line of JSON for each text and, with --file, one for the whole");
  command->footer(
      "Example: llm classify runs/spam \"You have won a prize! Call now.\"\n"
      "         llm classify runs/spam --file test.csv --quiet\n"
      "         tail -f messages.log | llm classify runs/spam --json\n"
      "The output is LABEL, a tab and its probability; with --file the number of the line is "
      "before\n"
      "it. A table without a header has labels and then texts if its rows begin with labels of "
      "the\n"
      "model; otherwise each line is a text.");
  command->callback([arguments] { classify(*arguments); });
}

}  // namespace llm
