// Cuts text into pieces: runs of valid UTF-8 by a split pattern (PCRE2 with JIT, UTF and UCP), and
// each run of invalid bytes as one piece. Nothing is lost: what the pattern does not match is a
// piece as well, as with Hugging Face's "Isolated".
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llm {

class PreTokenizer {
 public:
  // An empty pattern cuts nowhere within valid UTF-8. `where` names the source in errors. Throws
  // Error{input} for a pattern that does not compile.
  explicit PreTokenizer(std::string pattern, const std::string& where = "split pattern");
  ~PreTokenizer();
  PreTokenizer(const PreTokenizer&) = delete;
  PreTokenizer& operator=(const PreTokenizer&) = delete;

  const std::string& pattern() const { return pattern_; }
  // Whether the pieces from a piece's start on depend only on the text from there on. It does not
  // hold for patterns that look behind; those are never worked on in parallel or in parts.
  bool forgets_the_past() const { return forgets_the_past_; }

 private:
  friend class Matcher;
  std::string pattern_;
  void* code_ = nullptr;  // pcre2_code
  bool jit_ = false;
  bool forgets_the_past_ = true;
};

// What one thread needs to match: match data, limits and a JIT stack on the heap.
class Matcher {
 public:
  explicit Matcher(const PreTokenizer& pre_tokenizer);
  ~Matcher();
  Matcher(const Matcher&) = delete;
  Matcher& operator=(const Matcher&) = delete;

  static constexpr size_t kUndecided = static_cast<size_t>(-1);

  // End of the piece that begins at `at` in `run`, which must be valid UTF-8. With open, more text
  // may follow the run: kUndecided where that could change the piece. Throws Error{input} where the
  // pattern exceeds the matcher's limits.
  size_t piece_end(std::string_view run, size_t at, bool open);

 private:
  struct Found {
    bool any = false, undecided = false;
    size_t begin = 0, end = 0;
  };
  Found search(std::string_view run, size_t at, bool open);

  const PreTokenizer& pre_tokenizer_;
  void* data_ = nullptr;     // pcre2_match_data
  void* context_ = nullptr;  // pcre2_match_context
  void* stack_ = nullptr;    // pcre2_jit_stack
};

// A run of valid UTF-8 that reaches `position` and ends at `end`.
struct KnownRun {
  size_t position, end;
};

// The pieces of a text from `begin` on, one after the other.
class PieceCursor {
 public:
  // open: more text may follow. The text's last bytes must then not be an unfinished character.
  // known_runs: by position, so that runs need not be looked through to their end again.
  PieceCursor(Matcher& matcher, std::string_view text, size_t begin, bool open,
              std::span<const KnownRun> known_runs = {})
      : matcher_(matcher), text_(text), known_runs_(known_runs), at_(begin), open_(open) {}

  // False at the end of the text or, if it is open, where the next piece is undecided.
  bool next(std::string_view& piece);
  // Where the next piece begins.
  size_t position() const { return at_; }

 private:
  size_t find_run_end() const;

  Matcher& matcher_;
  std::string_view text_;
  std::span<const KnownRun> known_runs_;
  size_t at_;
  size_t run_begin_ = 0, run_end_ = 0;
  bool open_;
};

// What is done with pieces found by several threads: each works on a chunk of its own. The calls
// for one chunk never overlap; add() runs on the chunk's thread, the others afterwards, in order.
class PieceSink {
 public:
  virtual ~PieceSink() = default;
  // Called once, first. Chunk numbers are below count; add_before also gets count itself.
  virtual void begin(int count) = 0;
  // A piece of the chunk, in order.
  virtual void add(int chunk, std::string_view piece) = 0;
  // The first piece of the chunk that still counts was none: the chunk began amid a piece.
  virtual void drop_first(int chunk, std::string_view piece) = 0;
  // A piece that belongs between the pieces of chunk - 1 and those of chunk.
  virtual void add_before(int chunk, std::string_view piece) = 0;
};

// Finds the pieces of `text` with up to `threads` threads: exactly those that a PieceCursor finds
// from the beginning. Returns the bytes covered: all, or with open what no further text can change.
// An open text must not end in an unfinished character. Less than min_chunk bytes per thread are
// not worth a thread.
size_t find_pieces(const PreTokenizer& pre_tokenizer, std::string_view text, bool open, int threads,
                   PieceSink& sink, size_t min_chunk = 64 << 10);

}  // namespace llm
