#include "data/prepare.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <system_error>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/progress.h"
#include "data/document_encoder.h"
#include "data/output_folder.h"
#include "data/survey.h"

namespace llm {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kDocumentsForValidation = 10;
constexpr int64_t kProgressBytes = int64_t{1} << 20;  // between two looks at the clock
constexpr size_t kMaxListedSources = 10'000;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// One split on its way to disk.
class SplitOutput {
 public:
  SplitOutput(const PrepareOptions& options, const Tokenizer& tokenizer, const std::string& prefix)
      : writer_(options.output, prefix, tokenizer.vocab_size(), options.shard_tokens),
        encoder_(tokenizer, options.threads, options.allow_special,
                 [this](std::span<const TokenId> ids) { writer_.append(ids); }) {}

  void add(std::string_view text) {
    open_ = true;
    record_.characters += count_characters(text);
    record_.bytes += static_cast<int64_t>(text.size());
    encoder_.add(text);
  }
  void end_document() {
    open_ = false;
    ++record_.documents;
    encoder_.end_document();
  }
  bool document_is_open() const { return open_; }
  SplitRecord finish() {
    encoder_.finish();
    record_.files = writer_.finish();
    record_.tokens = writer_.tokens();
    return std::move(record_);
  }

 private:
  SplitRecord record_;
  SplitWriter writer_;
  DocumentEncoder encoder_;
  bool open_ = false;
};

// How much of the input comes before validation.
struct SplitPlan {
  SplitUnit unit = SplitUnit::characters;
  int64_t train = 0;  // characters or documents
  std::string name;
};

// Sends text to train until the plan's amount is used up, and the rest to val.
class Divider {
 public:
  Divider(const SplitPlan& plan, SplitOutput& train, SplitOutput& val)
      : plan_(plan), train_(train), val_(val) {}

  void add(std::string_view text, bool last) {
    if (!in_val_) text.remove_prefix(add_to_train(text, last));
    if (!in_val_) return;
    val_.add(text);
    if (last) val_.end_document();
  }

 private:
  // Returns how much of the text was for train; what is left over is for val.
  size_t add_to_train(std::string_view text, bool last) {
    size_t cut = text.size();
    if (plan_.unit == SplitUnit::documents) {
      if (!train_.document_is_open() && used_ == plan_.train) in_val_ = true, cut = 0;
    } else {
      const int64_t count = count_characters(text);
      if (used_ + count > plan_.train) {
        in_val_ = true;
        cut = byte_of_character(text, plan_.train - used_);
      }
      used_ += count;
    }
    const bool ends_here = in_val_ ? cut > 0 || train_.document_is_open() : last;
    if (cut > 0 || !in_val_) train_.add(text.substr(0, cut));
    if (ends_here) train_.end_document();
    if (ends_here && plan_.unit == SplitUnit::documents) ++used_;
    return cut;
  }

  const SplitPlan& plan_;
  SplitOutput &train_, &val_;
  int64_t used_ = 0;
  bool in_val_ = false;
};

SplitPlan plan_split(const PrepareOptions& options, const CorpusSurvey& survey) {
  const double fraction = options.val_inputs.empty() ? options.val_fraction : 0;
  SplitPlan plan;
  if (fraction == 0) {
    return {SplitUnit::characters, survey.characters,
            options.val_inputs.empty() ? "none" : "files"};
  }
  plan.unit = options.split;
  if (plan.unit == SplitUnit::automatic) {
    const bool many = fraction * static_cast<double>(survey.documents) >= kDocumentsForValidation;
    plan.unit = many ? SplitUnit::documents : SplitUnit::characters;
  }
  const bool by_documents = plan.unit == SplitUnit::documents;
  plan.name = by_documents ? "documents" : "chars";
  const int64_t total = by_documents ? survey.documents : survey.characters;
  if (total < 2) {
    fail_input(options.inputs.front(),
               fmt::format("{} {} cannot be divided into train and validation", total,
                           by_documents ? "document" : "character"),
               by_documents ? "use --split chars, or --val-fraction 0" : "use --val-fraction 0");
  }
  // A hair is added, so that a tenth of 1000 is 100 although 0.1 has no exact double.
  plan.train = static_cast<int64_t>(std::floor(static_cast<double>(total) * (1 - fraction) + 1e-6));
  plan.train = std::clamp<int64_t>(plan.train, 1, total - 1);
  return plan;
}

// The whole job; the steps are run() from top to bottom.
class Preparation {
 public:
  explicit Preparation(const PrepareOptions& options)
      : options_(options), progress_(options.show_progress) {}

  PrepareSummary run() {
    check_options();
    open_tokenizer_unless_chars();
    list_inputs();
    OutputFolder folder(options_.output, options_.force);
    spool_pipes(folder, listing_.files, "train");
    spool_pipes(folder, val_listing_.files, "val");
    survey();
    const SplitPlan plan = plan_split(options_, survey_);
    summary_.split_unit = plan.name;
    folder.remove_old_dataset();
    encode(plan);
    tokenizer_->save(options_.output);
    write_file_atomically(options_.output / kDatasetFile, to_pretty_text(describe()));
    folder.commit();
    progress_.finish();
    summary_.seconds = seconds_since(start_);
    return std::move(summary_);
  }

 private:
  void check_options() const {
    if (options_.inputs.empty()) fail_usage("data prepare", "no input files");
    if (!(options_.val_fraction >= 0 && options_.val_fraction < 1)) {
      fail_usage("--val-fraction", fmt::format("{} is outside [0, 1)", options_.val_fraction));
    }
    if (options_.shard_tokens < 1 || options_.shard_tokens > kMaxShardTokens) {
      fail_usage("--shard-tokens",
                 fmt::format("{} is outside [1, {}]", with_commas(options_.shard_tokens),
                             with_commas(kMaxShardTokens)));
    }
    if (options_.filters.min_chars < 0) fail_usage("--min-chars", "must not be negative");
    const auto from_stdin = [](const auto& inputs) {
      return std::count(inputs.begin(), inputs.end(), "-");
    };
    if (from_stdin(options_.inputs) + from_stdin(options_.val_inputs) > 1) {
      fail_usage("data prepare", "standard input can be read only once");
    }
  }

  void open_tokenizer_unless_chars() {
    if (options_.tokenizer == "chars") return;
    tokenizer_ = open_tokenizer(options_.tokenizer, options_.tokenizer_dir);
  }

  void list_inputs() {
    listing_ = list_corpus_files(options_.inputs, options_.format, options_.output);
    if (!options_.val_inputs.empty()) {
      val_listing_ = list_corpus_files(options_.val_inputs, options_.format, options_.output);
    }
    for (const CorpusListing* listing : {&listing_, &val_listing_}) {
      summary_.files += static_cast<int64_t>(listing->files.size());
      summary_.skipped_files += listing->skipped;
    }
    if (summary_.skipped_files == 0) return;
    log_warning(fmt::format("{} files in the folders are neither text nor JSONL by their names",
                            with_commas(summary_.skipped_files)));
  }

  // What can be read only once goes to disk first.
  static void spool_pipes(OutputFolder& folder, std::vector<CorpusFile>& files,
                          const std::string& name) {
    std::vector<char> buffer(size_t{1} << 20);
    for (CorpusFile& file : files) {
      std::error_code error;
      if (file.path != "-" && fs::is_regular_file(file.path, error)) continue;
      const fs::path copy = folder.temporary(fmt::format("{}-{}", name, &file - files.data()));
      FileReader reader(file.path);
      FileWriter writer(copy);
      while (const size_t count = reader.read(buffer)) {
        writer.write(std::string_view(buffer.data(), count));
      }
      writer.close();
      file.path = copy;
    }
  }

  void survey() {
    TextCleaner cleaner(options_.filters);
    DocumentFilter filter(options_.filters);
    CharacterCollector characters;
    CharacterCollector* collector = tokenizer_ ? nullptr : &characters;
    const auto show = [&](int64_t bytes) {
      show_progress("reading", summary_.input_bytes + bytes, 0);
    };
    const auto survey_of = [&](const CorpusListing& listing) {
      CorpusSurvey survey = survey_corpus(listing.files, options_.text_key, cleaner, filter,
                                          collector, summary_.filters, show);
      for (const auto& file : survey.files) summary_.input_bytes += file.bytes;
      return survey;
    };
    survey_ = survey_of(listing_);
    val_survey_ = survey_of(val_listing_);
    refuse_if_empty(survey_, options_.inputs);
    if (!options_.val_inputs.empty()) refuse_if_empty(val_survey_, options_.val_inputs);
    if (!tokenizer_) tokenizer_ = make_char_tokenizer(characters.characters());
    if (!tokenizer_->end_of_text() && survey_.documents > 1) {
      log_warning(fmt::format(
          "the {} tokenizer has no end-of-text: {} documents follow each other without a mark",
          tokenizer_->kind(), with_commas(survey_.documents)));
    }
  }

  void refuse_if_empty(const CorpusSurvey& survey, const std::vector<std::string>& inputs) const {
    if (survey.documents > 0) return;
    const int64_t removed = summary_.filters.removed_documents();
    const bool all_empty = removed == summary_.filters.empty.documents;
    fail_input(
        inputs.front(),
        all_empty ? "there is no text in the input"
                  : fmt::format("the filters removed all {} documents", with_commas(removed)),
        all_empty ? "is this the right file?" : "loosen --min-chars, --language-filter or --dedup");
  }

  void show_progress(std::string_view what, int64_t done, int64_t total) {
    if (done - shown_bytes_ < kProgressBytes) return;
    shown_bytes_ = done;
    const double seconds = std::max(1e-9, seconds_since(phase_start_));
    std::string line = fmt::format("{} {}", what, format_bytes(done));
    if (total > 0) line += fmt::format(" of {}", format_bytes(total));
    line += fmt::format(" | {}/s",
                        format_bytes(static_cast<int64_t>(static_cast<double>(done) / seconds)));
    if (total > 0 && done > 0) {
      const double left = seconds / static_cast<double>(done) * static_cast<double>(total - done);
      line += fmt::format(" | {} left", format_duration(left));
    }
    progress_.show(line);
  }

  void encode(const SplitPlan& plan) {
    phase_start_ = Clock::now();
    shown_bytes_ = 0;
    SplitOutput train(options_, *tokenizer_, "train"), val(options_, *tokenizer_, "val");
    std::string_view text;
    bool last = false;
    Divider divider(plan, train, val);
    SurveyedReader reader(listing_.files, options_.text_key, options_.filters, survey_);
    while (reader.next(text, last)) {
      divider.add(text, last);
      show_progress("encoding", reader.bytes_read(), summary_.input_bytes);
    }
    const int64_t before = reader.bytes_read();
    SurveyedReader val_reader(val_listing_.files, options_.text_key, options_.filters, val_survey_);
    while (val_reader.next(text, last)) {
      val.add(text);
      if (last) val.end_document();
      show_progress("encoding", before + val_reader.bytes_read(), summary_.input_bytes);
    }
    summary_.train = train.finish();
    summary_.val = val.finish();
  }

  Json describe() {
    summary_.tokenizer_kind = tokenizer_->kind();
    summary_.tokenizer_hash = tokenizer_->hash();
    summary_.vocab_size = tokenizer_->vocab_size();
    Json description = describe_dataset(*tokenizer_, summary_.train, summary_.val);
    description["split"] = Json{{"by", summary_.split_unit}};
    if (options_.val_inputs.empty()) description["split"]["val_fraction"] = options_.val_fraction;
    description["filters"] = describe_filters();
    description["removed"] = to_json(summary_.filters);
    description["sources"] = describe_sources();
    return description;
  }

  Json describe_filters() const {
    static constexpr const char* kInvalid[] = {"replace", "drop", "keep", "refuse"};
    const FilterOptions& filters = options_.filters;
    Json scripts = Json::array();
    for (const std::string& script : filters.language.scripts) scripts.push_back(script);
    return Json{{"invalid_utf8", kInvalid[static_cast<int>(filters.invalid_utf8)]},
                {"remove_control", filters.remove_control},
                {"min_chars", filters.min_chars},
                {"language_scripts", std::move(scripts)},
                {"language_share", filters.language.share},
                {"deduplicate", filters.deduplicate},
                {"allow_special", options_.allow_special}};
  }

  Json describe_sources() const {
    Json files = Json::array();
    Sha256 all;
    const auto add = [&](const CorpusListing& listing, const CorpusSurvey& survey, bool val) {
      for (size_t i = 0; i < listing.files.size(); ++i) {
        const CorpusReader::FileFigures& figures = survey.files[i];
        all.update(fmt::format("{} {} {}\n", val ? "val" : "text", figures.bytes, figures.sha256));
        if (files.size() >= kMaxListedSources) continue;
        Json file{{"path", listing.files[i].name},
                  {"bytes", figures.bytes},
                  {"documents", figures.documents},
                  {"sha256", figures.sha256}};
        if (val) file["split"] = "val";
        files.push_back(std::move(file));
      }
    };
    add(listing_, survey_, false);
    add(val_listing_, val_survey_, true);
    return Json{{"count", summary_.files},
                {"bytes", summary_.input_bytes},
                {"sha256_of_all", all.hex_digest()},
                {"files", std::move(files)}};
  }

  const PrepareOptions& options_;
  PrepareSummary summary_;
  std::unique_ptr<Tokenizer> tokenizer_;
  CorpusListing listing_, val_listing_;
  CorpusSurvey survey_, val_survey_;
  Progress progress_;
  int64_t shown_bytes_ = 0;
  Clock::time_point start_ = Clock::now(), phase_start_ = start_;
};

}  // namespace

PrepareSummary prepare_dataset(const PrepareOptions& options) { return Preparation(options).run(); }

}  // namespace llm
