#include "data/corpus_reader.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "text/unicode.h"

namespace llm {
namespace {

std::string lower_extension(const fs::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return extension;
}

// Nothing where the name does not say.
std::optional<CorpusFormat> format_by_name(const fs::path& path) {
  const std::string extension = lower_extension(path);
  if (extension == ".txt" || extension == ".text" || extension == ".md") return CorpusFormat::text;
  if (extension == ".jsonl" || extension == ".ndjson") return CorpusFormat::jsonl;
  return std::nullopt;
}

bool lies_in(const fs::path& path, const fs::path& folder) {
  if (folder.empty()) return false;
  std::error_code error;
  const fs::path relative =
      fs::weakly_canonical(path, error).lexically_relative(fs::weakly_canonical(folder, error));
  return !error && !relative.empty() && *relative.begin() != "..";
}

void list_folder(CorpusListing& listing, const fs::path& folder, CorpusFormat format,
                 const fs::path& exclude) {
  std::vector<fs::path> found;
  try {
    for (auto at = fs::recursive_directory_iterator(folder); at != fs::end(at); ++at) {
      const bool hidden = at->path().filename().string().starts_with('.');
      if (hidden || lies_in(at->path(), exclude)) {
        at.disable_recursion_pending();
      } else if (at->is_regular_file()) {
        found.push_back(at->path());
      }
    }
  } catch (const fs::filesystem_error& error) {
    fail_input(folder.string(), fmt::format("cannot list: {}", error.code().message()));
  }
  std::sort(found.begin(), found.end());
  for (const fs::path& path : found) {
    const std::optional<CorpusFormat> by_name = format_by_name(path);
    // The merges of a tokenizer are no text to learn from.
    const bool of_a_tokenizer =
        path.filename() == "merges.txt" && fs::exists(path.parent_path() / "vocab.json");
    if (!by_name || of_a_tokenizer || (format != CorpusFormat::by_name && *by_name != format)) {
      ++listing.skipped;
      continue;
    }
    listing.files.push_back({path, path.string(), *by_name == CorpusFormat::jsonl});
  }
}

void list_file(CorpusListing& listing, const std::string& input, CorpusFormat format) {
  if (format == CorpusFormat::by_name) {
    if (lower_extension(input) == ".json") {
      fail_input(input, "a .json file as a whole is no list of documents",
                 "JSONL, one object per line, is read: jq -c '.[]' FILE.json > FILE.jsonl");
    }
    format = format_by_name(input).value_or(CorpusFormat::text);
  }
  const std::string name = input == "-" ? "standard input" : input;
  listing.files.push_back({input, name, format == CorpusFormat::jsonl});
}

class TextReader final : public DocumentReader {
 public:
  TextReader(ByteSource source, std::string name, size_t part_bytes)
      : source_(std::move(source)),
        name_(std::move(name)),
        part_bytes_(std::max<size_t>(part_bytes, 4)) {}

  bool next(DocumentPart& part) override {
    if (done_) return false;
    part.offset = offset_;
    part.text = std::move(rest_);
    rest_.clear();
    while (part.text.size() < part_bytes_) {
      const size_t before = part.text.size();
      part.text.resize(part_bytes_);
      const size_t count = source_(std::span(part.text).subspan(before));
      part.text.resize(before + count);
      if (count == 0) {
        done_ = true;
        break;
      }
    }
    if (first_) refuse_other_formats(part.text, name_);
    first_ = false;
    if (!done_) {
      const size_t unfinished = unfinished_utf8_suffix(part.text);
      rest_ = part.text.substr(part.text.size() - unfinished);
      part.text.resize(part.text.size() - unfinished);
    }
    part.last = done_;
    offset_ += static_cast<int64_t>(part.text.size());
    return true;
  }

 private:
  ByteSource source_;
  std::string name_, rest_;
  int64_t offset_ = 0;
  size_t part_bytes_;
  bool first_ = true, done_ = false;
};

class JsonLinesReader final : public DocumentReader {
 public:
  JsonLinesReader(ByteSource source, std::string name, std::string text_key)
      : input_(std::move(source), std::move(name)), text_key_(std::move(text_key)) {}

  bool next(DocumentPart& part) override {
    while (const std::optional<TextLine> line = input_.next_line()) {
      line_number_ = line->number;
      if (line->text.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      part.text = text_of(line->text);
      part.last = true;
      return true;
    }
    return false;
  }

 private:
  std::string where() const { return text_place(input_.name(), line_number_); }

  Json parse_line(std::string_view line) const {
    try {
      return parse_json(line, where());
    } catch (const Error& error) {
      // The line within the text given to the parser says nothing: there is only one.
      std::string place = error.where();
      constexpr std::string_view kInner = ", line 1, ";
      if (const size_t at = place.rfind(kInner); at != std::string::npos) {
        place.replace(at, kInner.size(), ", ");
      }
      fail_input(place, error.problem(), "JSONL has one JSON object per line, in UTF-8");
    }
  }

  std::string text_of(std::string_view line) const {
    const Json value = parse_line(line);
    if (!value.is_object()) {
      fail_input(where(), fmt::format("expected a JSON object, found {}", value.type_name()),
                 "every line looks like {\"text\": \"...\"}");
    }
    const auto at = value.find(text_key_);
    if (at == value.end()) {
      fail_input(where(), fmt::format("there is no key \"{}\"", text_key_), hint_for_keys(value));
    }
    if (!at->is_string()) {
      fail_input(where(),
                 fmt::format("\"{}\": expected a string, found {}", text_key_, at->type_name()),
                 hint_for_keys(value));
    }
    return at->get<std::string>();
  }

  static std::string hint_for_keys(const Json& object) {
    std::string keys;
    for (const auto& [key, value] : object.items()) {
      if (!value.is_string() || keys.size() > 200) continue;
      keys += (keys.empty() ? "" : ", ") + key.substr(0, 50);
    }
    if (keys.empty()) return "choose another with --text-key";
    return fmt::format("choose one with --text-key; keys with strings here: {}", keys);
  }

  TextInput input_;
  std::string text_key_;
  int64_t line_number_ = 0;
};

}  // namespace

CorpusListing list_corpus_files(const std::vector<std::string>& inputs, CorpusFormat format,
                                const fs::path& exclude) {
  CorpusListing listing;
  for (const std::string& input : inputs) {
    std::error_code error;
    if (input != "-" && fs::is_directory(input, error)) {
      list_folder(listing, input, format, exclude);
    } else if (input == "-" || fs::exists(input, error)) {
      list_file(listing, input, format);
    } else {
      fail_input(input, "no such file or folder", "check the path");
    }
  }
  if (listing.files.empty()) {
    fail_input(inputs.empty() ? "" : inputs.front(),
               fmt::format("no text found ({} other files)", with_commas(listing.skipped)),
               "in folders .txt, .text, .md, .jsonl and .ndjson files are read");
  }
  return listing;
}

std::unique_ptr<DocumentReader> read_text_documents(ByteSource source, std::string name,
                                                    size_t part_bytes) {
  return std::make_unique<TextReader>(std::move(source), std::move(name), part_bytes);
}

std::unique_ptr<DocumentReader> read_jsonl_documents(ByteSource source, std::string name,
                                                     std::string text_key) {
  return std::make_unique<JsonLinesReader>(std::move(source), std::move(name), std::move(text_key));
}

// A file being read, and what is known about the bytes so far.
struct CorpusReader::OpenFile {
  FileReader file;
  FileFigures figures;
  std::optional<Sha256> sha256;
  std::unique_ptr<DocumentReader> documents;

  OpenFile(const CorpusFile& which, const std::string& text_key, bool with_sha256)
      : file(which.path) {
    if (with_sha256) sha256.emplace();
    auto source = [this](std::span<char> into) { return read(into); };
    documents = which.jsonl ? read_jsonl_documents(source, which.name, text_key)
                            : read_text_documents(source, which.name);
  }

  size_t read(std::span<char> into) {
    const size_t count = file.read(into);
    const std::string_view bytes(into.data(), count);
    figures.bytes += static_cast<int64_t>(count);
    figures.crc = crc32c(as_bytes(bytes), figures.crc);
    if (sha256) sha256->update(bytes);
    return count;
  }
};

CorpusReader::CorpusReader(std::vector<CorpusFile> files, std::string text_key, bool with_sha256)
    : files_(std::move(files)), text_key_(std::move(text_key)), with_sha256_(with_sha256) {}

CorpusReader::~CorpusReader() = default;

bool CorpusReader::next(DocumentPart& part) {
  while (open_ || figures_.size() < files_.size()) {
    if (!open_) {
      open_ = std::make_unique<OpenFile>(files_[figures_.size()], text_key_, with_sha256_);
    }
    if (open_->documents->next(part)) {
      open_->figures.documents += part.last ? 1 : 0;
      return true;
    }
    if (open_->sha256) open_->figures.sha256 = open_->sha256->hex_digest();
    finished_bytes_ += open_->figures.bytes;
    figures_.push_back(std::move(open_->figures));
    open_.reset();
  }
  return false;
}

int64_t CorpusReader::bytes_read() const {
  return finished_bytes_ + (open_ ? open_->figures.bytes : 0);
}

}  // namespace llm
