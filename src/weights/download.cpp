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
#include "weights/model_folder.h"
#include "weights/part_file.h"
#include "weights/safetensors.h"

namespace llm {
namespace {

constexpr const char* kRecordFormat = "llm download 1";
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
constexpr JsonLimits kRecordLimits = {.max_depth = 8, .max_bytes = 4 << 20, .max_values = 100'000};

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

const char* hash_name(HashKind kind) { return kind == HashKind::sha256 ? "sha256" : "git_blob"; }

// A download from its beginning to its end.
class Download {
 public:
  explicit Download(const DownloadOptions& options)
      : options_(options), folder_(options.folder), hub_(options.hub) {}

  DownloadSummary run() {
    const double start = now();
    list_files();
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
    bool tokenizer = false;
    for (const char* name : kSmallFiles) {
      const auto file = hub_.find(name);
      if (!file) continue;
      add(*file);
      tokenizer = tokenizer || file->name == "tokenizer.json" || file->name == "merges.txt";
    }
    if (!tokenizer) {
      log_warning(
          fmt::format("{} has neither tokenizer.json nor vocab.json and merges.txt", hub_.page()));
    }
    if (const auto weights = hub_.find(kWeightsFile)) {
      add(*weights);
    } else if (const auto index = hub_.find(kIndexFile)) {
      add_shards(*index);
    } else {
      refuse_without_safetensors();
    }
  }

  void add(const RemoteFile& file) {
    if (!files_.empty() && file.commit != files_.front().commit) {
      fail_input(hub_.page(), "was changed while its files were looked up",
                 "run the same command again");
    }
    files_.push_back(file);
    summary_.commit = file.commit;
    ++summary_.files;
    summary_.bytes += std::max<int64_t>(file.size, 0);
  }

  void add_shards(const RemoteFile& index) {
    const std::string where = hub_.url_of(kIndexFile);
    TextSink sink(where, kMaxIndexBytes);
    hub_.get(index, sink);
    ContentHash hash(index);
    hash.update(as_bytes(sink.text));
    if (hash.digest() != index.hash) fail_hash(index);
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

  // What is there stays, what is missing is fetched, and nothing of others is replaced unasked.
  void sort_files() {
    const bool ours = is_ours();
    for (const RemoteFile& file : files_) {
      const fs::path path = folder_ / file.name;
      if (fs::exists(path)) {
        progress_.show(fmt::format("{} | checking {}", options_.model, file.name));
        if (is_same_content(path, file)) continue;
        if (!ours && !options_.force) refuse_to_replace(path);
        log_info(fmt::format("{} is not what {} has: fetched again", path.string(), hub_.page()));
      }
      missing_.push_back(file);
      const int64_t there = PartFile::bytes_there(folder_, file);
      done_ += there;
      total_ += std::max(file.size, there);
      known_ = known_ && file.size >= 0;
    }
  }

  // The folder was made by a download of this model.
  bool is_ours() const {
    const fs::path record = folder_ / kDownloadRecord;
    if (!fs::exists(record)) return false;
    try {
      const Json json = read_json_file(record, kRecordLimits);
      const JsonObject object(json, record.string());
      return object.text("format") == kRecordFormat &&
             short_model_name(object.text("repository")) == short_model_name(hub_.repository());
    } catch (const Error&) {  // anybody's file
      return false;
    }
  }

  [[noreturn]] void refuse_to_replace(const fs::path& path) const {
    fail_usage(path.string(), fmt::format("is there, and is not that of {}", hub_.page()),
               "choose another folder with -o, or replace it with --force");
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
  void write_record() const {
    Json json{{"format", kRecordFormat},
              {"repository", hub_.repository()},
              {"endpoint", options_.hub.endpoint},
              {"revision", options_.hub.revision}};
    if (!summary_.commit.empty()) json["commit"] = summary_.commit;
    json["files"] = Json::object();
    for (const RemoteFile& file : files_) {
      Json& entry = json["files"][file.name] = Json::object();
      if (file.size >= 0) entry["bytes"] = file.size;
      if (file.hash_kind != HashKind::none) entry[hash_name(file.hash_kind)] = file.hash;
    }
    const std::string text = to_pretty_text(json);
    const fs::path path = folder_ / kDownloadRecord;
    if (fs::exists(path) && read_text_file(path) == text) return;
    write_file_atomically(path, text);
  }

  void bring(const RemoteFile& file) {
    if (!fetch(file) && !fetch(file)) fail_hash(file);
    ++summary_.fetched_files;
    if (file.name == "config.json") warn_about_config();
  }

  // False if a part of an earlier time turned out to be damaged, and all must be fetched anew.
  bool fetch(const RemoteFile& file) {
    auto part = std::make_unique<PartFile>(folder_, file);
    const bool resumed = part->resumed();
    MeteredSink sink(*this, *part, file.name);
    if (file.size < 0 || part->size() < file.size || file.size == 0) hub_.get(file, sink);
    if (!part->finish()) {
      done_ -= part->size();
      if (!resumed) fail_hash(file);
      log_info(fmt::format("{}: the part of an earlier time is damaged; fetched anew", file.name));
      return false;
    }
    if (file.hash_kind == HashKind::none) check_form(part->path());
    if (fs::exists(folder_ / file.name)) {
      replacements_.push_back(std::move(part));  // all at once at the end
    } else {
      part->rename();
    }
    return true;
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
  std::vector<RemoteFile> files_, missing_;
  std::string index_text_;
  std::vector<std::unique_ptr<PartFile>> replacements_;
  int64_t done_ = 0, total_ = 0;  // bytes of what was missing
  bool known_ = true;             // all sizes are
};

}  // namespace

DownloadSummary download_model(const DownloadOptions& options) { return Download(options).run(); }

}  // namespace llm
