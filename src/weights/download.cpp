#include "weights/download.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <memory>
#include <system_error>

#include "base/downloads.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/rate_meter.h"
#include "weights/download_record.h"
#include "weights/model_folder.h"
#include "weights/part_file.h"
#include "weights/safetensors.h"

namespace llm {
namespace {

constexpr std::array kSmallFiles = {"generation_config.json",
                                    "tokenizer.json",
                                    "tokenizer_config.json",
                                    "vocab.json",
                                    "merges.txt",
                                    "special_tokens_map.json",
                                    "added_tokens.json",
                                    "chat_template.jinja"};
constexpr std::array kOtherFormats = {"pytorch_model.bin", "pytorch_model.bin.index.json",
                                      "tf_model.h5", "flax_model.msgpack"};
constexpr int64_t kMaxIndexBytes = 16 << 20;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// A small file in memory.
class TextSink : public FileSink {
 public:
  TextSink(std::string where, int64_t limit) : where_(std::move(where)), limit_(limit) {}
  int64_t size() const override { return static_cast<int64_t>(text.size()); }
  void restart() override { text.clear(); }
  void write(Bytes bytes) override {
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (size() > limit_) fail_input(where_, "is larger than " + format_bytes(limit_));
  }

  std::string text;

 private:
  std::string where_;
  int64_t limit_;
};

// What the server sent must not steer a terminal.
std::string printable(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return (c >= 0 && c < 32) || c == 127; }, '?');
  return text;
}

// Whether a file of this name belongs to a model.
bool is_part_of_model(const std::string& name) {
  constexpr std::array kNames = {"config.json", kIndexFile, kDownloadRecord};
  const auto among = [&](const auto& names) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  return name.ends_with(".safetensors") || among(kNames) || among(kSmallFiles) ||
         among(kOtherFormats);
}

// A download from its beginning to its end.
class Download {
 public:
  explicit Download(const DownloadOptions& options)
      : options_(options), folder_(options.folder), hub_(options.hub) {}

  DownloadSummary run() {
    const double start = now();
    list_files();
    if (!options_.force) refuse_foreign_folder();
    make_directories(folder_);
    DirectoryLock lock(folder_);
    sort_files();
    check_space();
    write_record();
    for (const RemoteFile& file : missing_) bring(file);
    progress_.finish();
    for (const auto& part : replacements_) part->rename();
    if (!index_text_.empty()) write_file_atomically(folder_ / kIndexFile, index_text_);
    sync_directory(folder_);
    count_files();
    summary_.repository = hub_.repository();
    summary_.seconds = now() - start;
    std::error_code ignored;
    fs::remove(folder_ / ".lock", ignored);
    return summary_;
  }

 private:
  // Everything that the model consists of, weights last.
  void list_files() {
    progress_.show(fmt::format("{} | looking what there is", options_.model));
    add(hub_.open(options_.model));
    for (const char* name : kSmallFiles) {
      if (const auto file = hub_.find(name)) add(*file);
    }
    warn_without_tokenizer();
    if (const auto weights = hub_.find(kWeightsFile)) {
      add(*weights);
    } else if (const auto index = hub_.find(kIndexFile)) {
      add_shards(*index);
    } else {
      refuse_without_safetensors();
    }
  }

  void warn_without_tokenizer() const {
    for (const RemoteFile& file : files_) {
      if (file.name == "tokenizer.json" || file.name == "merges.txt") return;
    }
    log_warning(
        fmt::format("{} has neither tokenizer.json nor vocab.json and merges.txt", hub_.page()));
  }

  void add(const RemoteFile& file) {
    if (!files_.empty() && file.commit != files_.front().commit) {
      fail_input(hub_.page(), "was changed while its files were looked up",
                 "run the same command again");
    }
    files_.push_back(file);
    summary_.commit = file.commit;
  }

  void count_files() {
    for (const RemoteFile& file : files_) {
      ++summary_.files;
      if (file.hash_kind == HashKind::none) ++summary_.files_without_hash;
      summary_.bytes += std::max<int64_t>(file.size, 0);
    }
  }

  void add_shards(const RemoteFile& index) {
    const std::string where = hub_.url_of(kIndexFile);
    TextSink sink(where, kMaxIndexBytes);
    hub_.get(index, sink);
    ContentHash hash(index);
    hash.update(as_bytes(sink.text));
    if (index.hash_kind != HashKind::none && hash.digest() != index.hash) fail_hash(index);
    index_text_ = sink.text;
    for (const auto& [name, tensors] : parse_shard_index(index_text_, where)) {
      const auto shard = hub_.find(name);
      if (!shard) fail_input(where, fmt::format("names {}, which is not there", name));
      add(*shard);
    }
  }

  [[noreturn]] void refuse_without_safetensors() {
    std::string found;
    for (const char* name : kOtherFormats) {
      if (hub_.find(name)) found += (found.empty() ? "; it has " : ", ") + std::string(name);
    }
    fail_input(hub_.page(), fmt::format("has no weights in safetensors{}", found),
               "choose a model that has model.safetensors, or convert this one with transformers: "
               "save_pretrained(DIR, safe_serialization=True)");
  }

  // What others put there is theirs: a model that was made by hand or by another program is neither
  // mixed with this one nor taken for it.
  void refuse_foreign_folder() const {
    const auto record = read_download_record(folder_);
    if (record && is_of_this_model(*record)) return;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder_, error)) {
      const std::string name = entry.path().filename().string();
      if (!is_part_of_model(name)) continue;
      const std::string what =
          record ? fmt::format("holds a download of {}", printable(record->repository))
                 : fmt::format("has {}, and no {} says that it is a download of {}", name,
                               kDownloadRecord, options_.model);
      fail_usage(folder_.string(), what,
                 "choose another folder with -o, or take this one over with --force: what is not "
                 "the model's is replaced");
    }
  }

  bool is_of_this_model(const DownloadRecord& record) const {
    return short_model_name(record.repository) == short_model_name(hub_.repository());
  }

  // What is there and right stays, what is missing is fetched.
  void sort_files() {
    DownloadRecord before;
    if (auto found = read_download_record(folder_); found && is_of_this_model(*found)) {
      before = std::move(*found);
    }
    for (const RemoteFile& file : files_) {
      const fs::path path = folder_ / file.name;
      RecordedFile& recorded = record_.files[file.name] = {file, ""};
      if (fs::exists(path)) {
        progress_.show(fmt::format("{} | checking {}", options_.model, file.name));
        const std::string received = before.received(file);
        if (is_same_content(path, file, received)) {
          recorded.received = received;
          continue;
        }
        log_info(fmt::format("{} is not known to be what {} has: fetched again", path.string(),
                             hub_.page()));
      }
      missing_.push_back(file);
      const int64_t there = PartFile::bytes_there(folder_, file);
      done_ += there;
      total_ += std::max(file.size, there);
      known_ = known_ && file.size >= 0;
    }
  }

  void check_space() const {
    std::error_code error;
    const fs::space_info space = fs::space(folder_, error);
    const int64_t needed = total_ - done_;
    if (error || needed <= 0 || space.available >= static_cast<uintmax_t>(needed)) return;
    throw Error(ErrorKind::disk, folder_.string(),
                fmt::format("{} are to come, {} are free on this disk", format_bytes(needed),
                            format_bytes(static_cast<int64_t>(space.available))),
                hint_for_errno(ENOSPC));
  }

  // What this folder is: from here on its files may be replaced by those of the same repository.
  void write_record() {
    record_.repository = hub_.repository();
    record_.endpoint = options_.hub.endpoint;
    record_.revision = options_.hub.revision;
    record_.commit = summary_.commit;
    write_download_record(folder_, record_);
  }

  void bring(const RemoteFile& file) {
    Fetched fetched = fetch(file);
    if (fetched == Fetched::damaged) fetched = fetch(file);
    if (fetched == Fetched::damaged) fail_hash(file);
    if (fetched == Fetched::absent) return leave_out(file);
    ++summary_.fetched_files;
    if (file.name == "config.json") warn_about_config();
  }

  void leave_out(const RemoteFile& file) {
    log_info(fmt::format("{} is not there after all: done without it", hub_.url_of(file.name)));
    total_ -= std::max<int64_t>(file.size, 0);
    record_.files.erase(file.name);
    write_record();
    std::erase_if(files_, [&](const RemoteFile& other) { return other.name == file.name; });
    if (file.name == "tokenizer.json" || file.name == "merges.txt") warn_without_tokenizer();
  }

  enum class Fetched {
    whole,
    damaged,  // the part of an earlier time; all must be fetched anew
    absent,   // a file that models can do without
  };

  Fetched fetch(const RemoteFile& file) {
    auto part = std::make_unique<PartFile>(folder_, file);
    const bool resumed = part->resumed();
    MeteredSink sink(*this, *part, file.name);
    const bool optional =
        std::find(kSmallFiles.begin(), kSmallFiles.end(), file.name) != kSmallFiles.end();
    const bool wanted = file.size < 0 || part->size() < file.size || file.size == 0;
    if (wanted && !optional) hub_.get(file, sink);
    if (wanted && optional && !hub_.get_if_there(file, sink)) {
      part->remove();
      return Fetched::absent;
    }
    if (!part->finish()) {
      done_ -= part->size();
      if (!resumed) fail_hash(file);
      log_info(fmt::format("{}: the part of an earlier time is damaged; fetched anew", file.name));
      return Fetched::damaged;
    }
    if (file.hash_kind == HashKind::none) {
      check_form(part->path());
      // Before the file has its name: what has it is then known, whatever happens in between.
      record_.files[file.name].received = part->digest();
      write_record();
    }
    if (fs::exists(folder_ / file.name)) {
      replacements_.push_back(std::move(part));  // all at once at the end
    } else {
      part->rename();
    }
    return Fetched::whole;
  }

  // Without a hash, at least what is no such file at all is noticed, such as a page of HTML.
  static void check_form(const fs::path& path) {
    const std::string name = path.filename().string();
    if (name.find(".safetensors.") != std::string::npos) SafetensorsFile check(path);
    if (name.find(".json.") != std::string::npos) read_json_file(path);
  }

  [[noreturn]] void fail_hash(const RemoteFile& file) const {
    fail_input(
        hub_.url_of(file.name),
        fmt::format("what came has not the {} hash {}", hash_name(file.hash_kind), file.hash),
        "it was damaged on the way, or is changing just now: try again");
  }

  // Better now than after gigabytes.
  void warn_about_config() const {
    try {
      read_model_config(folder_);
    } catch (const Error& error) {
      log_warning(
          fmt::format("this program cannot read this model yet: {}", printable(error.problem())));
    }
  }

  // Counts and shows what comes in.
  class MeteredSink : public FileSink {
   public:
    MeteredSink(Download& download, PartFile& part, std::string name)
        : download_(download), part_(part), name_(std::move(name)) {}
    int64_t size() const override { return part_.size(); }
    void restart() override {
      download_.done_ -= part_.size();
      part_.restart();
    }
    void write(Bytes bytes) override {
      part_.write(bytes);
      download_.received(name_, static_cast<int64_t>(bytes.size()));
    }

   private:
    Download& download_;
    PartFile& part_;
    std::string name_;
  };

  void received(const std::string& name, int64_t bytes) {
    done_ += bytes;
    summary_.fetched_bytes += bytes;
    meter_.record(now(), summary_.fetched_bytes);
    const double rate = meter_.rate();
    std::string line = fmt::format("{} | {}", name, format_bytes(done_));
    if (known_) {
      line += fmt::format(" of {} | {:.1f}%", format_bytes(total_),
                          100.0 * static_cast<double>(done_) / static_cast<double>(total_));
    }
    if (rate > 0) line += fmt::format(" | {}/s", format_bytes(static_cast<int64_t>(rate)));
    if (rate > 0 && known_) {
      line +=
          fmt::format(" | {} left", format_duration(static_cast<double>(total_ - done_) / rate));
    }
    progress_.show(line);
  }

  const DownloadOptions& options_;
  const fs::path folder_;
  Hub hub_;
  Progress progress_;
  RateMeter meter_;
  DownloadSummary summary_;
  DownloadRecord record_;
  std::vector<RemoteFile> files_, missing_;
  std::string index_text_;
  std::vector<std::unique_ptr<PartFile>> replacements_;
  int64_t done_ = 0, total_ = 0;  // bytes of what was missing
  bool known_ = true;             // all sizes are
};

}  // namespace

DownloadSummary download_model(const DownloadOptions& options) { return Download(options).run(); }

}  // namespace llm
