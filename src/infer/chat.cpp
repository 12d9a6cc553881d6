#include "infer/chat.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/rng.h"

namespace llm {
namespace {

std::string template_where(ChatTemplate format) {
  return fmt::format("template {}", chat_template_name(format));
}

// Runs `encode`; what the tokenizer cannot express is an error of the part `where`.
template <typename Encode>
void named(const std::string& where, const Encode& encode) {
  try {
    encode();
  } catch (const Error& error) {
    fail_usage(where, error.problem(), error.hint());
  }
}

}  // namespace

ChatSession::ChatSession(Engine& engine, const Tokenizer& tokenizer, int64_t context,
                         ChatOptions options)
    : engine_(engine), tokenizer_(tokenizer), context_(context), options_(std::move(options)) {}

// The tokens of the conversation from turn `first` on, up to where the answer to `message` begins.
// Answers are the tokens that the model wrote: it has read these, and has them in its cache.
std::vector<TokenId> ChatSession::prompt(size_t first, const std::string& message) const {
  std::vector<ChatMessage> messages;
  if (!options_.system.empty()) messages.push_back({ChatRole::system, options_.system});
  for (size_t i = first; i < turns_.size(); ++i) {
    messages.push_back({ChatRole::user, turns_[i].message});
    messages.push_back({ChatRole::assistant, turns_[i].answer.text});
  }
  messages.push_back({ChatRole::user, message});
  const std::vector<ChatSegment> segments = chat_segments(options_.format, messages, "chat");

  std::vector<TokenId> ids;
  size_t turn = first;
  for (const ChatSegment& segment : segments) {
    const bool whole_answer =
        segment.answer && !segment.marker &&
        turns_[turn++].answer.reason != FinishReason::stop_string;  // whose tokens may say more
    const std::vector<TokenId> piece = whole_answer
                                           ? turns_[turn - 1].answer.ids
                                           : encode_chat(tokenizer_, std::span(&segment, 1)).ids;
    ids.insert(ids.end(), piece.begin(), piece.end());
  }
  return ids;
}

// Each part on its own first, so that the error names the one that is at fault.
void ChatSession::check_options() const {
  named("system message", [&] { tokenizer_.encode(options_.system); });
  named(template_where(options_.format), [&] { prompt(turns_.size(), ""); });
}

const ChatTurn& ChatSession::ask(const std::string& message, const TextSink& sink) {
  return answer(message, sink);
}

const ChatTurn& ChatSession::regenerate(const TextSink& sink) {
  if (turns_.empty()) fail_usage("/regen", "there is no message to answer yet");
  ChatTurn last = std::move(turns_.back());
  turns_.pop_back();
  forgotten_ = std::min(forgotten_, turns_.size());
  try {
    return answer(last.message, sink);
  } catch (...) {
    turns_.push_back(std::move(last));
    throw;
  }
}

void ChatSession::clear() {
  turns_.clear();
  forgotten_ = 0;
}

const ChatTurn& ChatSession::answer(const std::string& message, const TextSink& sink) {
  const int64_t room = std::max<int64_t>(1, std::min(options_.generate.max_tokens, context_ / 4));
  std::vector<TokenId> ids;
  size_t first = forgotten_;
  check_options();
  named("message", [&] { tokenizer_.encode(message); });
  named(template_where(options_.format), [&] {
    ids = prompt(first, message);
    while (first < turns_.size() && static_cast<int64_t>(ids.size()) + room > context_) {
      ids = prompt(++first, message);
    }
  });
  if (ids.empty()) fail_usage("message", "is empty");
  if (static_cast<int64_t>(ids.size()) >= context_) {
    fail_usage("message",
               fmt::format("{} tokens{}, which leaves no room for an answer in the model's context "
                           "of {}",
                           with_commas(static_cast<int64_t>(ids.size())),
                           options_.system.empty() ? "" : " with the system message",
                           with_commas(context_)),
               "shorten it");
  }

  GenerateOptions generate = options_.generate;
  ChatStops stops = chat_stops(options_.format, tokenizer_);
  generate.stop.insert(generate.stop.end(), stops.texts.begin(), stops.texts.end());
  generate.stop_ids = std::move(stops.ids);
  generate.keep_cache = !options_.reread;
  // Each answer draws numbers of its own, a repeated one too.
  generate.seed =
      Random(options_.generate.seed, stream_id("chat")).bits64(static_cast<uint64_t>(answers_));
  ChatTurn turn{message, {}, static_cast<int64_t>(ids.size())};
  turn.answer = std::move(engine_
                              .generate(std::span(&ids, 1), generate,
                                        [&](int64_t, std::string_view text) {
                                          if (sink && !text.empty()) sink(text);
                                        })
                              .front());
  turn.cached_tokens = engine_.figures().cached_tokens;
  ++answers_;
  figures_.prefill_tokens += engine_.figures().prefill_tokens;
  figures_.cached_tokens += engine_.figures().cached_tokens;
  figures_.prefill_seconds += engine_.figures().prefill_seconds;
  figures_.decode_tokens += engine_.figures().decode_tokens;
  figures_.decode_seconds += engine_.figures().decode_seconds;
  forgotten_ = first;
  turns_.push_back(std::move(turn));
  return turns_.back();
}

}  // namespace llm
