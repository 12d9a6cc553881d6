// llm generate
#include <fmt/format.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/model_arguments.h"
#include "cli/output.h"
#include "infer/engine.h"
#include "infer/text_stream.h"
#include "text/chat_template.h"

namespace llm {
namespace {

constexpr size_t kMaxPromptBytes = 64 << 20;

struct GenerateArguments {
  ModelArguments model;
  std::string prompt, prompt_file, overflow = "stop", format, input;
  GenerateOptions options;
  int64_t num_samples = 1, seed = 42;
  bool instruct = false, allow_special = false, json = false;
  bool echo = true;
  const CLI::Option* echo_option = nullptr;  // not given: of a text, not of an instruction
};

std::string read_prompt_file(const std::string& path) {
  FileReader reader(path);
  std::string text;
  std::vector<char> block(1 << 16);
  while (const size_t size = reader.read(block)) {
    text.append(block.data(), size);
    if (text.size() > kMaxPromptBytes) fail_input(path, "more than 64 MiB, too long for a prompt");
  }
  return text;
}

// What an empty prompt stands for: the start of a text.
std::vector<TokenId> start_of_text(const Tokenizer& tokenizer) {
  if (tokenizer.end_of_text()) return {*tokenizer.end_of_text()};
  try {
    return tokenizer.encode("\n");
  } catch (const Error&) {
    fail_usage("--prompt", "is empty, and the tokenizer has no token that begins a text",
               "give a prompt with -p");
  }
}

struct Prompt {
  std::string text;
  std::vector<TokenId> ids;
};

// An instruction in its template, up to where the answer begins.
Prompt instruction_prompt(const std::string& instruction, const std::string& input,
                          ChatTemplate format, const Tokenizer& tokenizer) {
  const ChatMessage message{ChatRole::user, instruction, input};
  const std::vector<ChatSegment> segments = chat_segments(format, {&message, 1}, "prompt");
  Prompt prompt;
  for (const ChatSegment& segment : segments) prompt.text += segment.text;
  prompt.ids = encode_chat(tokenizer, segments).ids;
  return prompt;
}

// format: of an instruction; nothing where the text is to be continued. Errors name what the prompt
// came from: a wrong -p is a wrong command line, a wrong file a wrong input.
Prompt read_prompt(const GenerateArguments& arguments, const Tokenizer& tokenizer,
                   const ModelConfig& config, std::optional<ChatTemplate> format) {
  const bool from_file = !arguments.prompt_file.empty();
  const std::string where = !from_file                     ? "--prompt"
                            : arguments.prompt_file == "-" ? "standard input"
                                                           : arguments.prompt_file;
  const auto refuse = [&](const std::string& what, const std::string& hint) {
    if (from_file) fail_input(where, what, hint);
    fail_usage(where, what, hint);
  };
  Prompt prompt;
  prompt.text = from_file ? read_prompt_file(arguments.prompt_file) : arguments.prompt;
  if (prompt.text.empty()) {
    if (format) refuse("there is no instruction", "give one with -p");
    prompt.ids = start_of_text(tokenizer);
    return prompt;
  }
  try {
    if (format) {
      prompt = instruction_prompt(prompt.text, arguments.input, *format, tokenizer);
    } else {
      prompt.ids = tokenizer.encode(prompt.text, arguments.allow_special);
    }
  } catch (const Error& error) {
    refuse(error.problem(), error.hint());
  }
  const auto size = static_cast<int64_t>(prompt.ids.size());
  if (size > config.context && arguments.options.overflow == ContextOverflow::stop) {
    refuse(fmt::format("{} tokens, but the model's context is {}", with_commas(size),
                       with_commas(config.context)),
           "shorten it, or give --context-overflow slide to read only its end");
  }
  return prompt;
}

// Prints samples one behind the other although they grow together: the first one that has not ended
// is live, the text of the later ones waits.
class SamplePrinter {
 public:
  SamplePrinter(int64_t count, std::string prompt) : count_(count), prompt_(std::move(prompt)) {}

  void receive(int64_t sample, std::string_view text) {
    if (live_ < 0) begin();
    if (text.empty()) {
      ended_[sample] = true;
    } else if (sample == live_) {
      show(text);
    } else {
      waiting_[sample] += text;
    }
    while (ended_[live_]) {
      if (!at_line_start_) print("\n");
      if (live_ + 1 == count_) return;
      begin();
    }
  }

 private:
  void show(std::string_view text) {
    const std::string shown = shown_text(text, terminal_);
    if (shown.empty()) return;
    print(shown);
    at_line_start_ = shown.ends_with('\n');
  }
  void begin() {
    ++live_;
    if (count_ > 1) print(fmt::format("--- sample {} of {} ---\n", live_ + 1, count_));
    at_line_start_ = true;
    show(prompt_);
    show(waiting_[live_]);
    waiting_.erase(live_);
  }

  int64_t count_, live_ = -1;  // -1: nothing was printed yet
  std::string prompt_;
  const bool terminal_ = isatty(STDOUT_FILENO) == 1;
  bool at_line_start_ = true;
  std::map<int64_t, std::string> waiting_;
  std::map<int64_t, bool> ended_;
};

Json logprobs_json(const Generation& result, const Tokenizer& tokenizer) {
  const auto entry = [&](TokenId id, double logprob) {
    Json json;
    json["id"] = id;
    json["text"] = tokenizer.token_bytes(id);
    json["logprob"] = logprob;
    return json;
  };
  Json list = Json::array();
  for (size_t i = 0; i < result.reports.size(); ++i) {
    const TokenReport& report = result.reports[i];
    Json token = entry(result.ids[i], report.logprob);
    token["top"] = Json::array();
    for (const TokenLogprob& top : report.top) {
      if (top.id < tokenizer.vocab_size()) token["top"].push_back(entry(top.id, top.logprob));
    }
    list.push_back(std::move(token));
  }
  return list;
}

Json sample_json(const Generation& result, const Tokenizer& tokenizer, bool logprobs) {
  Json json;
  json["ids"] = result.ids;
  json["text"] = result.text;
  json["finish_reason"] = finish_reason_name(result.reason);
  if (logprobs) json["logprobs"] = logprobs_json(result, tokenizer);
  return json;
}

// The keys of the first sample on top; all samples where there are several.
Json result_json(const Prompt& prompt, const std::vector<Generation>& results,
                 const Tokenizer& tokenizer, const GenerateFigures& figures, bool logprobs) {
  Json json;
  json["prompt_ids"] = prompt.ids;
  json.update(sample_json(results.front(), tokenizer, logprobs));
  if (results.size() > 1) {
    for (const Generation& result : results) {
      json["samples"].push_back(sample_json(result, tokenizer, logprobs));
    }
  }
  json["prefill_tokens"] = figures.prefill_tokens;
  json["prefill_tokens_per_second"] = figures.prefill_rate();
  json["decode_tokens"] = figures.decode_tokens;
  json["decode_tokens_per_second"] = figures.decode_rate();
  return json;
}

void report(const std::vector<Generation>& results, const GenerateFigures& figures,
            const ModelConfig& config) {
  size_t full = 0;
  for (const Generation& result : results) full += result.reason == FinishReason::context;
  if (full > 0) {
    log_warning(
        fmt::format("stopped because the model's context of {} tokens is full; "
                    "--context-overflow slide goes on",
                    with_commas(config.context)));
  }
  log_info(fmt::format("prefill {}, {:.1f} tok/s | decode {}, {:.1f} tok/s",
                       counted(figures.prefill_tokens, "token"), figures.prefill_rate(),
                       counted(figures.decode_tokens, "token"), figures.decode_rate()));
}

void check_generate_arguments(const GenerateArguments& arguments) {
  if (arguments.overflow != "stop" && arguments.overflow != "slide") {
    fail_usage("--context-overflow",
               fmt::format("\"{}\" is neither stop nor slide", arguments.overflow));
  }
  require_stop_texts(arguments.options.stop);
  if (arguments.options.logprobs > 0 && !arguments.json) {
    fail_usage("--logprobs", "go into the line of --json, which is not asked for");
  }
  const bool instruct = arguments.instruct || !arguments.format.empty();
  if (instruct && arguments.allow_special) {
    fail_usage("--allow-special", "is of a text that is continued, and this is an instruction");
  }
  if (!instruct && !arguments.input.empty()) {
    fail_usage("--input", "is what an instruction is about: give --instruct or --template, too");
  }
}

// The template that -p is an instruction in, or nothing: the text is continued as it is.
std::optional<ChatTemplate> template_for(const GenerateArguments& arguments,
                                         std::optional<ChatTemplate> recorded,
                                         const std::string& where) {
  if (!arguments.format.empty()) return chat_template_named(arguments.format);
  if (!arguments.instruct) return std::nullopt;
  if (!recorded) {
    fail_usage("--instruct", fmt::format("{} does not say which template it was taught in", where),
               "name it with --template");
  }
  return recorded;
}

// Of a model that was taught in a template, a text that is continued ends where answers do, too, if
// that is a token.
void add_stops(GenerateOptions& options, std::optional<ChatTemplate> format,
               std::optional<ChatTemplate> recorded, const Tokenizer& tokenizer) {
  if (!format && (!recorded || options.ignore_end_of_text)) return;
  ChatStops stops = chat_stops(format ? *format : *recorded, tokenizer);
  if (!options.ignore_end_of_text) options.stop_ids = std::move(stops.ids);
  if (format) options.stop.insert(options.stop.end(), stops.texts.begin(), stops.texts.end());
}

void generate(GenerateArguments arguments) {
  check_generate_arguments(arguments);
  GenerateOptions& options = arguments.options;
  options.overflow = arguments.overflow == "slide" ? ContextOverflow::slide : ContextOverflow::stop;
  options.seed = static_cast<uint64_t>(arguments.seed);
  validate(options.sampler);
  if (!arguments.format.empty()) chat_template_named(arguments.format);  // wrong ones first

  const OpenedModel opened = open_model(arguments.model);
  const Tokenizer& tokenizer = *opened.tokenizer;
  const auto recorded = chat_template_of(opened.location);
  const auto format = template_for(arguments, recorded, opened.location.named().string());
  add_stops(options, format, recorded, tokenizer);
  if (recorded && !format) {
    log_info(
        fmt::format("taught in the template {}; the text is continued as it is, --instruct "
                    "asks in the template",
                    chat_template_name(*recorded)));
  }
  const Prompt prompt = read_prompt(arguments, tokenizer, opened.config, format);
  const std::unique_ptr<Gpt> model = load_weights(opened);

  Engine engine(*model, tokenizer);
  const std::vector<std::vector<TokenId>> prompts(static_cast<size_t>(arguments.num_samples),
                                                  prompt.ids);
  const bool echo = arguments.echo_option->count() > 0 ? arguments.echo : !format;
  SamplePrinter printer(arguments.num_samples, echo ? prompt.text : "");
  const std::vector<Generation> results = engine.generate(
      prompts, options,
      [&](int64_t sample, std::string_view text) { printer.receive(sample, text); });
  report(results, engine.figures(), model->config());
  if (arguments.json)
    print_json(
        result_json(prompt, results, tokenizer, engine.figures(), arguments.options.logprobs > 0));
}

void add_instruction_options(CLI::App& command, GenerateArguments& arguments) {
  const char* group = "Instructions";
  command
      .add_flag("--instruct", arguments.instruct,
                "the prompt is an instruction in the template that the model folder names, and "
                "what is printed is the answer")
      ->group(group);
  command
      .add_option("--template", arguments.format,
                  "the same in this template: plain, book, alpaca or chatml")
      ->type_name("NAME")
      ->group(group);
  command
      .add_option("--input", arguments.input, "what the instruction is about, where it has that")
      ->type_name("TEXT")
      ->group(group);
}

void add_ending_options(CLI::App& command, GenerateArguments& arguments) {
  GenerateOptions& options = arguments.options;
  const char* group = "Where it ends";
  command.add_option("-n,--tokens", options.max_tokens, "tokens to generate at most")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->type_name("N")
      ->group(group);
  command.add_option("--stop", options.stop, "end before this text; may be given several times")
      ->type_name("TEXT")
      ->expected(1)
      ->take_all()
      ->group(group);
  command
      .add_flag("--ignore-end-of-text", options.ignore_end_of_text,
                "go on behind an end-of-text token")
      ->group(group);
  command
      .add_option("--context-overflow", arguments.overflow,
                  "when the model's context is full: `stop`, or `slide`, which keeps the last "
                  "half of the context, reads it again and goes on")
      ->type_name("stop|slide")
      ->group(group);
}

}  // namespace

void add_generate_command(CLI::App& app) {
  auto* command = app.add_subcommand("generate", "continue a text with a model");
  auto arguments = std::make_shared<GenerateArguments>();
  auto* text = command->add_option("-p,--prompt", arguments->prompt,
                                   "text to continue; empty: the start of a text");
  command->add_option("--prompt-file", arguments->prompt_file, "the same from a file; - is stdin")
      ->type_name("FILE")
      ->excludes(text);
  command->add_flag("--allow-special", arguments->allow_special,
                    "special tokens in the prompt are tokens, not ordinary text");
  add_sampler_options(*command, arguments->options.sampler, arguments->seed);
  command->add_option("--num-samples", arguments->num_samples, "continuations of the prompt")
      ->check(CLI::Range(1, 100'000))
      ->type_name("N")
      ->group("Sampling");
  command
      ->add_flag("--batch-invariant", arguments->options.batch_invariant,
                 "the same text whatever else is generated with it (on a GPU in bf16, few samples "
                 "then take up to twice as long, 64 as long as before); on the CPU, in f32, always "
                 "so")
      ->group("Sampling");
  add_ending_options(*command, *arguments);
  add_instruction_options(*command, *arguments);
  arguments->echo_option = command->add_flag(
      "--echo,!--no-echo", arguments->echo,
      "print the prompt as well (default: a text that is continued, not an instruction)");
  command
      ->add_option("--logprobs", arguments->options.logprobs,
                   "with --json: log-probabilities of each token and of the N most likely")
      ->check(CLI::Range(0, 1000))
      ->type_name("N");
  add_model_options(*command, arguments->model);
  command->add_flag("--json", arguments->json, "the last line of stdout is a JSON object");
  command->footer(
      "Example: llm generate runs/shakespeare -p \"ROMEO:\" -n 300 --temperature 0.8\n"
      "         llm generate models/gpt2 --prompt-file - --stop . --json < prompt.txt\n"
      "         llm generate runs/assistant --instruct -p \"Name a primary colour.\"\n"
      "The text goes to stdout as it is made, in whole characters; bytes that are none become "
      "U+FFFD,\n"
      "and a terminal gets no control characters (--json keeps the tokens). Speed goes to stderr.");
  command->callback([arguments] { generate(*arguments); });
}

}  // namespace llm
