// Cleaning of text and the choice of documents. Texts arrive in parts that end between characters;
// what is done does not depend on where the parts are cut.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "base/json.h"
#include "data/code_point_set.h"

namespace llm {

// What becomes of a byte that is no part of a UTF-8 character.
enum class InvalidUtf8 {
  replace,  // U+FFFD for each
  drop,
  keep,
  refuse,  // Error{input}
};

// The share of letters that must belong to the given scripts.
struct LanguageFilter {
  std::vector<std::string> scripts;
  double share = 0;
};

// "latin:0.9" or "han,hiragana,katakana:0.5"; without a share 0.5. Throws Error{usage}.
LanguageFilter parse_language_filter(std::string_view text);

struct FilterOptions {
  InvalidUtf8 invalid_utf8 = InvalidUtf8::replace;
  // Removes control characters and format characters. Carriage returns, vertical tabs, form feeds
  // and NEL become line feeds (CR LF a single one); tabs and line feeds stay. So do U+200C and
  // U+200D, which spelling in Persian and the scripts of India and emoji need.
  bool remove_control = true;
  int64_t min_chars = 0;     // shorter documents are removed
  LanguageFilter language;   // no scripts: off
  bool deduplicate = false;  // only the first of documents with the same cleaned text stays
};

struct Removed {
  int64_t documents = 0, characters = 0;
};

// What the filters did, in the order in which they are applied.
struct FilterReport {
  int64_t invalid_bytes = 0;
  int64_t control_characters = 0, format_characters = 0;  // removed
  int64_t line_ends = 0;                                  // replaced by a line feed
  Removed empty, short_documents, other_language, duplicates;

  int64_t removed_documents() const {
    return empty.documents + short_documents.documents + other_language.documents +
           duplicates.documents;
  }
};
Json to_json(const FilterReport& report);

// Characters of a text; a byte that is no part of one counts as one.
int64_t count_characters(std::string_view text);
// The byte at which character `count` of the text begins; text.size() if it has no more.
size_t byte_of_character(std::string_view text, int64_t count);

// Handles invalid UTF-8 and control and format characters.
class TextCleaner {
 public:
  explicit TextCleaner(const FilterOptions& options);
  // Appends the cleaned part to `cleaned`; `last`: the document ends here. For errors: the part
  // begins at byte `offset` of `file`.
  void clean(std::string_view part, bool last, std::string& cleaned, FilterReport& report,
             const std::string& file = {}, int64_t offset = 0);

 private:
  void clean_special(std::string_view bytes, bool valid, char32_t code_point, std::string& cleaned,
                     FilterReport& report);

  InvalidUtf8 invalid_utf8_;
  bool remove_control_;
  bool after_carriage_return_ = false;
};

// Decides which documents stay. Where duplicates are looked for it holds about 40 bytes for each
// document that stays, otherwise nothing.
class DocumentFilter {
 public:
  explicit DocumentFilter(const FilterOptions& options);
  ~DocumentFilter();

  // A part of a document's cleaned text.
  void add(std::string_view cleaned);
  // Ends the document: whether it stays, counted in the report.
  bool finish(FilterReport& report);
  // Of the document that was finished last.
  int64_t characters() const { return finished_characters_; }
  int64_t bytes() const { return finished_bytes_; }

 private:
  struct Seen;
  Removed* reason_to_remove(FilterReport& report);

  int64_t min_chars_;
  double share_;
  bool by_language_;
  CodePointSet letters_, wanted_letters_;
  std::unique_ptr<Seen> seen_;  // with deduplication
  int64_t characters_ = 0, bytes_ = 0, letter_count_ = 0, wanted_count_ = 0;
  int64_t finished_characters_ = 0, finished_bytes_ = 0;
};

// The distinct characters of the documents that stay: the vocabulary of the `chars` tokenizer.
class CharacterCollector {
 public:
  void add(std::string_view text);
  void finish(bool document_stays);
  // In code point order, then invalid bytes by value.
  std::vector<std::string> characters() const;

 private:
  // An invalid byte is kept as a code point of the surrogates, which no text contains.
  static constexpr char32_t kByteBase = 0xD800;
  CodePointSet known_, in_document_;
  std::vector<char32_t> new_in_document_;
};

}  // namespace llm
