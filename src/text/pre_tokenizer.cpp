#include "text/pre_tokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <new>

#include "base/error.h"
#include "base/parallel.h"
#include "text/pattern.h"
#include "text/unicode.h"

namespace llm {
namespace {

constexpr size_t kMaxPatternLength = 1 << 16;
constexpr size_t kJitStackStart = 64 << 10, kJitStackLimit = 64 << 20;
constexpr uint32_t kHeapLimitKib = 256 << 10;  // of the interpreter, where there is no JIT
// A match may try so much, or so much per byte of text: enough for every greedy run, and an end for
// patterns that take exponential time.
constexpr uint64_t kMatchLimit = 10'000'000, kMatchLimitPerByte = 16;

std::string pcre2_message(int code) {
  PCRE2_UCHAR buffer[256];
  if (pcre2_get_error_message(code, buffer, sizeof(buffer)) < 0) return fmt::format("{}", code);
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

PreTokenizer::PreTokenizer(std::string pattern, const std::string& where)
    : pattern_(std::move(pattern)) {
  if (pattern_.empty()) return;
  if (pattern_.size() > kMaxPatternLength) {
    fail_input(where, fmt::format("a split pattern of {} bytes", with_commas(pattern_.size())),
               "at most 65,536 are supported");
  }
  const TranslatedPattern translated = translate_pattern(pattern_, where);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.text.data()), translated.text.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  if (code == nullptr) {
    fail_input(where, fmt::format("the split pattern does not compile: {} (at offset {} of '{}')",
                                  pcre2_message(error), offset, translated.text.substr(0, 200)));
  }
  code_ = code;
  jit_ = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD) == 0;
  uint32_t lookbehind = 0;
  pcre2_pattern_info(code, PCRE2_INFO_MAXLOOKBEHIND, &lookbehind);
  forgets_the_past_ = lookbehind == 0 && !translated.anchored;
}

PreTokenizer::~PreTokenizer() { pcre2_code_free(static_cast<pcre2_code*>(code_)); }

Matcher::Matcher(const PreTokenizer& pre_tokenizer) : pre_tokenizer_(pre_tokenizer) {
  if (pre_tokenizer.code_ == nullptr) return;
  auto* context = pcre2_match_context_create(nullptr);
  context_ = context;
  data_ = pcre2_match_data_create(1, nullptr);
  if (context_ == nullptr || data_ == nullptr) throw std::bad_alloc();
  pcre2_set_heap_limit(context, kHeapLimitKib);
  if (pre_tokenizer.jit_) {
    stack_ = pcre2_jit_stack_create(kJitStackStart, kJitStackLimit, nullptr);
    if (stack_ != nullptr) {
      pcre2_jit_stack_assign(context, nullptr, static_cast<pcre2_jit_stack*>(stack_));
    }
  }
}

Matcher::~Matcher() {
  pcre2_match_data_free(static_cast<pcre2_match_data*>(data_));
  pcre2_match_context_free(static_cast<pcre2_match_context*>(context_));
  pcre2_jit_stack_free(static_cast<pcre2_jit_stack*>(stack_));
}

Matcher::Found Matcher::search(std::string_view run, size_t at, bool open) {
  const auto* code = static_cast<const pcre2_code*>(pre_tokenizer_.code_);
  auto* data = static_cast<pcre2_match_data*>(data_);
  auto* context = static_cast<pcre2_match_context*>(context_);
  const auto subject = reinterpret_cast<PCRE2_SPTR>(run.data());
  const uint32_t partial = open ? PCRE2_PARTIAL_HARD : 0;
  pcre2_set_match_limit(context, static_cast<uint32_t>(std::clamp<uint64_t>(
                                     kMatchLimitPerByte * run.size(), kMatchLimit, UINT32_MAX)));
  int result = PCRE2_ERROR_JIT_STACKLIMIT;
  if (stack_ != nullptr) {
    result = pcre2_jit_match(code, subject, run.size(), at, partial, data, context);
  }
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) {  // or there is no JIT: the interpreter, on the heap
    result = pcre2_match(code, subject, run.size(), at, partial | PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                         data, context);
  }
  if (result == PCRE2_ERROR_NOMATCH) return {};
  if (result == PCRE2_ERROR_PARTIAL) return {.undecided = true};
  if (result < 0) {
    fail_input("split pattern", fmt::format("matching failed: {}", pcre2_message(result)),
               "a pattern without nested repetition is needed");
  }
  const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(data);
  return {.any = true, .begin = offsets[0], .end = offsets[1]};
}

size_t Matcher::piece_end(std::string_view run, size_t at, bool open) {
  if (pre_tokenizer_.code_ == nullptr) return open ? kUndecided : run.size();
  Found found = search(run, at, open);
  if (found.any && found.end == at) {
    // An empty match ends nothing here, but the next match may begin at the next character.
    const size_t next = at + decode_utf8(run, at).length;
    if (next < run.size()) {
      found = search(run, next, open);
    } else {
      found = {.undecided = open};
    }
  }
  if (found.undecided) return kUndecided;
  if (!found.any) return open ? kUndecided : run.size();
  return found.begin > at ? found.begin : found.end;
}

size_t PieceCursor::find_run_end() const {
  const auto after = std::upper_bound(
      known_runs_.begin(), known_runs_.end(), at_,
      [](size_t position, const KnownRun& known) { return position < known.position; });
  const size_t limit = after == known_runs_.end() ? text_.size() : after->position;
  const size_t end = at_ + valid_utf8_prefix(text_.substr(at_, limit - at_));
  return end == limit && after != known_runs_.end() ? after->end : end;
}

bool PieceCursor::next(std::string_view& piece) {
  if (at_ >= text_.size()) return false;
  size_t end;
  if (at_ >= run_end_) {  // at the beginning of a run
    run_begin_ = at_;
    run_end_ = find_run_end();
  }
  if (run_end_ == at_) {  // an invalid byte
    end = at_ + invalid_utf8_prefix(text_.substr(at_));
    if (open_ && end == text_.size()) return false;
  } else {
    const std::string_view run = text_.substr(run_begin_, run_end_ - run_begin_);
    end = matcher_.piece_end(run, at_ - run_begin_, open_ && run_end_ == text_.size());
    if (end == Matcher::kUndecided) return false;
    end += run_begin_;
  }
  piece = text_.substr(at_, end - at_);
  at_ = end;
  return true;
}

namespace {

// find_pieces on a text that is cut into chunks at arbitrary characters. Because a piece depends
// only on where it begins and on the text from there on, two walks that meet at one position go on
// alike: so the pieces of each chunk are right from the first position on that the walk through the
// chunks before it meets, and mostly that is one or two pieces into the chunk.
class ChunkedSearch {
 public:
  ChunkedSearch(const PreTokenizer& pre_tokenizer, std::string_view text, bool open, int count,
                PieceSink& sink)
      : pre_tokenizer_(pre_tokenizer), text_(text), open_(open), sink_(sink), chunks_(count) {
    for (int k = 0; k < count; ++k) {
      size_t begin = text.size() / count * k;
      // No valid character has more than three bytes after its first.
      for (int i = 0; i < 3 && (text[begin] & 0xC0) == 0x80 && k > 0; ++i) ++begin;
      chunks_[k].begin = begin;
    }
    find_runs();
  }

  size_t run(int threads) {
    const int count = static_cast<int>(chunks_.size());
    sink_.begin(count);
    parallel_for(count, threads, [this](int64_t k) { walk(static_cast<int>(k)); });
    return stitch();
  }

 private:
  struct Chunk {
    size_t begin = 0;
    size_t end = 0;  // of the last piece that begins before the next chunk
  };

  size_t limit(size_t k) const {
    return k + 1 < chunks_.size() ? chunks_[k + 1].begin : text_.size();
  }

  void find_runs() {
    known_runs_.resize(chunks_.size());
    for (size_t k = chunks_.size(); k-- > 0;) {
      const size_t begin = chunks_[k].begin;
      size_t end = begin + valid_utf8_prefix(text_.substr(begin, limit(k) - begin));
      if (end == limit(k) && k + 1 < chunks_.size()) end = known_runs_[k + 1].end;
      known_runs_[k] = {begin, end};
    }
  }

  PieceCursor cursor(Matcher& matcher, size_t begin) const {
    return PieceCursor(matcher, text_, begin, open_, known_runs_);
  }

  void walk(int k) {
    Matcher matcher(pre_tokenizer_);
    PieceCursor pieces = cursor(matcher, chunks_[k].begin);
    std::string_view piece;
    while (pieces.position() < limit(k) && pieces.next(piece)) sink_.add(k, piece);
    chunks_[k].end = pieces.position();
  }

  // Joins the chunks in order; returns where the pieces end.
  size_t stitch() {
    Matcher matcher(pre_tokenizer_);
    const int count = static_cast<int>(chunks_.size());
    size_t at = chunks_[0].end;
    bool stopped = at < limit(0);  // the piece there is undecided
    for (int k = 1; k < count; ++k) {
      PieceCursor walked = cursor(matcher, chunks_[k].begin);
      if (!stopped) {
        PieceCursor right = cursor(matcher, at);
        stopped = !walk_to_meeting(right, walked, k);
        at = right.position();
      }
      if (!stopped && at == walked.position()) {
        at = chunks_[k].end;
        stopped = at < limit(k);
        continue;
      }
      std::string_view piece;  // nothing more of this chunk counts
      while (walked.position() < chunks_[k].end && walked.next(piece)) sink_.drop_first(k, piece);
    }
    if (stopped) return at;
    PieceCursor right = cursor(matcher, at);
    std::string_view piece;
    while (right.next(piece)) sink_.add_before(count, piece);
    return right.position();
  }

  // Takes whichever of the two is behind a piece further, until they meet or the chunk's walk is at
  // its end. False if `right` comes to an undecided piece.
  bool walk_to_meeting(PieceCursor& right, PieceCursor& walked, int k) {
    std::string_view piece;
    while (right.position() != walked.position()) {
      if (right.position() < walked.position()) {
        if (!right.next(piece)) return false;
        sink_.add_before(k, piece);
      } else if (walked.position() < chunks_[k].end) {
        walked.next(piece);
        sink_.drop_first(k, piece);
      } else {
        break;
      }
    }
    return true;
  }

  const PreTokenizer& pre_tokenizer_;
  std::string_view text_;
  bool open_;
  PieceSink& sink_;
  std::vector<Chunk> chunks_;
  std::vector<KnownRun> known_runs_;
};

}  // namespace

size_t find_pieces(const PreTokenizer& pre_tokenizer, std::string_view text, bool open, int threads,
                   PieceSink& sink, size_t min_chunk) {
  const size_t count = std::min<size_t>(threads, text.size() / std::max<size_t>(min_chunk, 16));
  if (count >= 2 && pre_tokenizer.forgets_the_past()) {
    return ChunkedSearch(pre_tokenizer, text, open, static_cast<int>(count), sink).run(threads);
  }
  if (open && !pre_tokenizer.forgets_the_past()) return 0;  // the rest would be read differently
  sink.begin(1);
  Matcher matcher(pre_tokenizer);
  PieceCursor pieces(matcher, text, 0, open);
  std::string_view piece;
  while (pieces.next(piece)) sink.add(0, piece);
  return pieces.position();
}

}  // namespace llm
