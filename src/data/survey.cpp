#include "data/survey.h"

#include "base/error.h"

namespace llm {

CorpusSurvey survey_corpus(const std::vector<CorpusFile>& files, const std::string& text_key,
                           TextCleaner& cleaner, DocumentFilter& filter,
                           CharacterCollector* collector, FilterReport& report,
                           const std::function<void(int64_t bytes)>& progress) {
  CorpusSurvey survey;
  CorpusReader reader(files, text_key, /*with_sha256=*/true);
  DocumentPart part;
  std::string cleaned;
  while (reader.next(part)) {
    cleaned.clear();
    cleaner.clean(part.text, part.last, cleaned, report, reader.file_name(), part.offset);
    filter.add(cleaned);
    if (collector != nullptr) collector->add(cleaned);
    progress(reader.bytes_read());
    if (!part.last) continue;
    const bool stays = filter.finish(report);
    if (collector != nullptr) collector->finish(stays);
    survey.stays.push_back(stays);
    if (!stays) continue;
    ++survey.documents;
    survey.characters += filter.characters();
    survey.bytes += filter.bytes();
  }
  survey.files.assign(reader.figures().begin(), reader.figures().end());
  return survey;
}

SurveyedReader::SurveyedReader(const std::vector<CorpusFile>& files, const std::string& text_key,
                               const FilterOptions& options, const CorpusSurvey& survey)
    : files_(files),
      survey_(survey),
      reader_(files, text_key, /*with_sha256=*/false),
      cleaner_(options) {}

bool SurveyedReader::next(std::string_view& text, bool& last) {
  while (reader_.next(part_)) {
    if (document_ == survey_.stays.size()) fail_changed(reader_.file_name());
    const bool stays = survey_.stays[document_];
    if (part_.last) ++document_;
    cleaned_.clear();
    cleaner_.clean(part_.text, part_.last, cleaned_, ignored_);
    if (!stays) continue;
    text = cleaned_;
    last = part_.last;
    return true;
  }
  compare_with_survey();
  return false;
}

void SurveyedReader::compare_with_survey() const {
  for (size_t i = 0; i < files_.size(); ++i) {
    const CorpusReader::FileFigures &now = reader_.figures()[i], &then = survey_.files[i];
    if (now.bytes != then.bytes || now.crc != then.crc) fail_changed(files_[i].name);
  }
}

void SurveyedReader::fail_changed(const std::string& file) const {
  fail_input(file, "was changed while it was being read", "try again when nothing writes to it");
}

}  // namespace llm
