// llm chat
#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/line_reader.h"
#include "cli/model_arguments.h"
#include "cli/output.h"
#include "infer/chat.h"
#include "infer/text_stream.h"

namespace llm {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 40;
constexpr const char* kHelp =
    "/clear            forget the conversation\n"
    "/regen            another answer to the last message\n"
    "/set              show the settings; /set KEY VALUE changes one: temperature, top-k, top-p,\n"
    "                  min-p, repetition-penalty, tokens, seed, system, template\n"
    "/help             this\n"
    "/quit             end (Ctrl-D too)\n"
    "A message that ends with a backslash goes on in the next line; one that begins with // "
    "begins\n"
    "with /. Ctrl-C stops an answer.";

struct ChatArguments {
  ModelArguments model;
  std::string format;
  ChatOptions options;
  int64_t seed = 42;
  bool json = false;
};

double parse_number(const std::string& key, std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    fail_usage(key, fmt::format("\"{}\" is not a number", text.substr(0, 100)));
  }
  return value;
}

int64_t parse_integer(const std::string& key, std::string_view text, int64_t low, int64_t high) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < low || value > high) {
    fail_usage(key,
               fmt::format("\"{}\" is not an integer in [{}, {}]", text.substr(0, 100), low, high));
  }
  return value;
}

// Changes one setting, or none if the value is wrong.
void set(ChatOptions& options, const std::string& key, const std::string& value) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  ChatOptions changed = options;
  GenerateOptions& generate = changed.generate;
  SamplerOptions& sampler = generate.sampler;
  if (key == "temperature") {
    sampler.temperature = parse_number(key, value);
  } else if (key == "top-k") {
    sampler.top_k = parse_integer(key, value, 0, kMost);
  } else if (key == "top-p") {
    sampler.top_p = parse_number(key, value);
  } else if (key == "min-p") {
    sampler.min_p = parse_number(key, value);
  } else if (key == "repetition-penalty") {
    sampler.repetition_penalty = parse_number(key, value);
  } else if (key == "tokens") {
    generate.max_tokens = parse_integer(key, value, 1, kMostTokens);
  } else if (key == "seed") {
    generate.seed = static_cast<uint64_t>(parse_integer(key, value, 0, kMost));
  } else if (key == "system") {
    changed.system = value;
  } else if (key == "template") {
    changed.format = chat_template_named(value);
  } else {
    fail_usage("/set", fmt::format("there is no setting \"{}\"", key.substr(0, 100)),
               "/set alone shows them");
  }
  validate(sampler);
  options = std::move(changed);
}

std::string settings_text(const ChatOptions& options) {
  const SamplerOptions& sampler = options.generate.sampler;
  return fmt::format(
      "temperature {}, top-k {}, top-p {}, min-p {}, repetition-penalty {}, tokens {}, seed {}, "
      "template {}, system \"{}\"",
      sampler.temperature, sampler.top_k, sampler.top_p, sampler.min_p, sampler.repetition_penalty,
      options.generate.max_tokens, options.generate.seed, chat_template_name(options.format),
      options.system);
}

Json turn_json(const ChatTurn& turn) {
  Json json;
  json["message"] = turn.message;
  json["text"] = turn.answer.text;
  json["ids"] = turn.answer.ids;
  json["finish_reason"] = finish_reason_name(turn.answer.reason);
  json["prompt_tokens"] = turn.prompt_tokens;
  json["cached_tokens"] = turn.cached_tokens;
  return json;
}

// Reads lines, answers messages, does what commands say.
class Dialogue {
 public:
  // interactive: a person types, who is asked for input and may try again after a mistake.
  Dialogue(ChatSession& session, bool interactive) : session_(session), interactive_(interactive) {}

  void run() {
    while (true) {
      if (interactive_) show_prompt();
      std::string line;
      const LineReader::Event event = reader_.read(line);
      if (event == LineReader::Event::end) break;
      if (event == LineReader::Event::interrupt) {
        if (std::exchange(interrupted_, true)) break;
        message_.clear();
        unfinished_ = false;
        notice("\n(Ctrl-C once more, or Ctrl-D, ends the program)");
        continue;
      }
      interrupted_ = false;
      if (!take(line)) return;
    }
    // A message whose last line ends with a backslash, and then the end of a file.
    if (unfinished_ && !interactive_) attempt([&] { answer(message_); });
    if (interactive_) notice("");
  }

  // An answer that an error has cut short is not among them, but its line is ended.
  const std::vector<Json>& finished_answers() {
    if (!std::exchange(at_line_start_, true)) print("\n");
    return answers_;
  }

 private:
  void show_prompt() {
    const std::string_view prompt = unfinished_ ? ". " : "> ";
    std::fwrite(prompt.data(), 1, prompt.size(), stderr);
    std::fflush(stderr);
  }

  void notice(std::string_view text) const {
    if (interactive_) log_info(text);
  }

  // Mistakes are shown to a person, and end a program that reads a file.
  template <typename Action>
  void attempt(const Action& action) {
    try {
      action();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::usage) throw;
      if (!interactive_) {
        fail_input(fmt::format("standard input: line {}", with_commas(reader_.line_number())),
                   fmt::format("{}: {}", error.where(), error.problem()),
                   error.hint().empty() ? "llm chat --help tells more" : error.hint());
      }
      log_info(error.what());
    }
  }

  // False: the conversation ends.
  bool take(const std::string& line) {
    const bool begins = !unfinished_;
    if (begins && line.starts_with('/') && !line.starts_with("//")) {
      bool goes_on = true;
      attempt([&] { goes_on = command(line); });
      return goes_on;
    }
    unfinished_ = !append_line(message_, begins && line.starts_with("//") ? line.substr(1) : line);
    if (unfinished_) return true;
    const std::string message = std::exchange(message_, {});
    if (message.find_first_not_of(" \t\n") == std::string::npos) return true;
    attempt([&] { answer(message); });
    return true;
  }

  bool command(const std::string& line) {
    const size_t end = line.find(' ');
    const std::string name = line.substr(0, end);
    std::string rest = end == std::string::npos ? "" : line.substr(end + 1);
    rest.erase(0, rest.find_first_not_of(' '));
    if (name == "/set") {
      change_setting(rest);
      return true;
    }
    if (!rest.empty()) fail_usage(name.substr(0, 100), "takes no words after it", "see /help");
    if (name == "/quit") return false;
    if (name == "/help") {
      log_info(kHelp);
    } else if (name == "/clear") {
      session_.clear();
      notice("(forgotten)");
    } else if (name == "/regen") {
      show(session_.regenerate(stream()));
    } else {
      fail_usage(name.substr(0, 100), "is no command", "see /help; // begins a message with /");
    }
    return true;
  }

  void change_setting(const std::string& rest) {
    if (!rest.empty()) {
      const size_t end = rest.find(' ');
      const std::string value = end == std::string::npos ? "" : rest.substr(end + 1);
      set(session_.options(), rest.substr(0, end), value);
    }
    if (rest.empty() || interactive_) log_info(settings_text(session_.options()));
  }

  void answer(const std::string& message) {
    const size_t forgotten = session_.forgotten();
    const ChatTurn& turn = session_.ask(message, stream());
    show(turn);
    if (session_.forgotten() > forgotten) {
      const auto count = static_cast<int64_t>(session_.forgotten());
      const std::string turns = count == 1 ? "turn" : with_commas(count) + " turns";
      log_info(fmt::format("(the context is full: the first {} of the conversation {} forgotten)",
                           turns, count == 1 ? "is" : "are"));
    }
  }

  ChatSession::TextSink stream() {
    InterruptCatcher::forget();
    at_line_start_ = silent_ = true;
    return [this](std::string_view text) {
      const std::string shown = shown_text(text, terminal_);
      if (shown.empty()) return;
      print(shown);
      at_line_start_ = shown.ends_with('\n');
      silent_ = false;
    };
  }

  // What follows the text of an answer.
  void show(const ChatTurn& turn) {
    if (!std::exchange(at_line_start_, true) || silent_) print("\n");
    answers_.push_back(turn_json(turn));
    switch (turn.answer.reason) {
      case FinishReason::interrupted:
        notice("(stopped)");
        break;
      case FinishReason::context:
        notice("(stopped: the model's context is full)");
        break;
      case FinishReason::length:
        notice(fmt::format("(stopped after {}; /set tokens N allows more)",
                           counted(session_.options().generate.max_tokens, "token")));
        break;
      default:
        break;
    }
    InterruptCatcher::forget();  // two may have come
  }

  ChatSession& session_;
  bool interactive_;
  const bool terminal_ = isatty(STDOUT_FILENO) == 1;
  LineReader reader_;
  std::string message_;
  bool unfinished_ = false, interrupted_ = false;
  bool at_line_start_ = true, silent_ = true;  // of the answer: silent while nothing was shown
  std::vector<Json> answers_;
};

void print_figures(const std::vector<Json>& answers, const GenerateFigures& figures) {
  for (const Json& answer : answers) print_json(answer);
  Json json;
  json["answers"] = answers.size();
  json["prefill_tokens"] = figures.prefill_tokens;
  json["prefill_tokens_per_second"] = figures.prefill_rate();
  json["cached_tokens"] = figures.cached_tokens;
  json["decode_tokens"] = figures.decode_tokens;
  json["decode_tokens_per_second"] = figures.decode_rate();
  print_json(json);
}

void chat(ChatArguments arguments) {
  ChatOptions& options = arguments.options;
  options.generate.seed = static_cast<uint64_t>(arguments.seed);
  options.generate.interrupted = InterruptCatcher::interrupted;
  validate(options.generate.sampler);
  require_stop_texts(options.generate.stop);
  std::optional<ChatTemplate> format;
  if (!arguments.format.empty()) format = chat_template_named(arguments.format);

  const OpenedModel opened = open_model(arguments.model);
  if (!format) format = chat_template_of(opened.location);
  options.format = format.value_or(ChatTemplate::plain);
  const std::unique_ptr<Gpt> model = load_weights(opened);
  Engine engine(*model, *opened.tokenizer);
  ChatSession session(engine, *opened.tokenizer, opened.config.context, options);
  session.check_options();

  const bool interactive = isatty(STDIN_FILENO) == 1;
  std::optional<InterruptCatcher> catcher;
  if (interactive) {
    catcher.emplace();
    log_info(fmt::format("template {}, context {} tokens; /help tells the commands",
                         chat_template_name(options.format), with_commas(opened.config.context)));
  }
  Dialogue conversation(session, interactive);
  try {
    conversation.run();
  } catch (const Error&) {  // what was answered before it is not lost
    if (arguments.json) print_figures(conversation.finished_answers(), session.figures());
    throw;
  }
  if (arguments.json) print_figures(conversation.finished_answers(), session.figures());
}

}  // namespace

void add_chat_command(CLI::App& app) {
  auto* command = app.add_subcommand("chat", "talk with a model");
  auto arguments = std::make_shared<ChatArguments>();
  ChatOptions& options = arguments->options;
  options.generate.max_tokens = 256;
  command->add_option("--system", options.system, "what the model is told before everything else")
      ->type_name("TEXT");
  command
      ->add_option("--template", arguments->format,
                   "how messages are written for the model: plain (they are continued), book, "
                   "alpaca or chatml; what the model folder names, or plain, unless given")
      ->type_name("NAME");
  command->add_option("-n,--tokens", options.generate.max_tokens, "tokens of an answer at most")
      ->check(CLI::Range(int64_t{1}, kMostTokens))
      ->type_name("N");
  command->add_option("--stop", options.generate.stop, "an answer ends before this text, too")
      ->type_name("TEXT")
      ->expected(1)
      ->take_all();
  command->add_flag("--reread", options.reread,
                    "each answer reads the whole conversation again instead of only what is new "
                    "in it: slower, and the numbers are those of generate to the last bit");
  add_sampler_options(*command, options.generate.sampler, arguments->seed);
  add_model_options(*command, arguments->model);
  command->add_flag("--json", arguments->json,
                    "at the end a line of JSON for each answer, and one for the whole");
  command->footer(
      "Example: llm chat runs/assistant --system \"You are brief.\"\n"
      "         echo \"Name a colour.\" | llm chat runs/assistant --template alpaca --json\n"
      "Each line is a message, or goes on in the next if it ends with a backslash; /help tells "
      "the\n"
      "commands. Ctrl-C stops an answer, twice at the prompt ends the program, as Ctrl-D does.\n"
      "When the conversation outgrows the model's context, its oldest turns are forgotten.");
  command->callback([arguments] { chat(*arguments); });
}

}  // namespace llm
