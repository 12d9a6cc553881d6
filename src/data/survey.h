// The first pass over a corpus: what it holds, which documents stay, which characters occur. The
// second pass, which encodes, then knows where validation begins.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/corpus_reader.h"
#include "data/filters.h"

namespace llm {

struct CorpusSurvey {
  std::vector<bool> stays;                           // by document
  int64_t documents = 0, characters = 0, bytes = 0;  // of the documents that stay, cleaned
  std::vector<CorpusReader::FileFigures> files;
};

// Filters and collector go on from an earlier survey, so that duplicates are found across two
// corpora. `collector` may be null. `progress` is called now and then with the bytes read so far.
CorpusSurvey survey_corpus(const std::vector<CorpusFile>& files, const std::string& text_key,
                           TextCleaner& cleaner, DocumentFilter& filter,
                           CharacterCollector* collector, FilterReport& report,
                           const std::function<void(int64_t bytes)>& progress);

// The second pass: the cleaned parts of the documents that stay. Throws Error{input} where the
// files are no longer what the survey saw.
class SurveyedReader {
 public:
  SurveyedReader(const std::vector<CorpusFile>& files, const std::string& text_key,
                 const FilterOptions& options, const CorpusSurvey& survey);
  // False at the end. The text holds until the next call.
  bool next(std::string_view& text, bool& last);
  int64_t bytes_read() const { return reader_.bytes_read(); }

 private:
  void compare_with_survey() const;
  [[noreturn]] void fail_changed(const std::string& file) const;

  const std::vector<CorpusFile>& files_;
  const CorpusSurvey& survey_;
  CorpusReader reader_;
  TextCleaner cleaner_;
  FilterReport ignored_;
  size_t document_ = 0;
  DocumentPart part_;
  std::string cleaned_;
};

}  // namespace llm
