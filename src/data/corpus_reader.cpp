#include "data/corpus_reader.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "text/unicode.h"

namespace llm {
namespace {

constexpr size_t kReadBytes = size_t{1} << 20;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

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

// Control characters that no text has many of; programs, images and tensors do.
void refuse_binary(std::string_view begin, const std::string& name) {
  constexpr size_t kLooked = size_t{1} << 16, kMany = 32, kShare = 25;  // one in 25
  const std::string_view looked = begin.substr(0, kLooked);
  const auto count = static_cast<size_t>(std::count_if(looked.begin(), looked.end(), [](char c) {
    return (c >= 0 && c < 7) || (c > 13 && c < 27) || (c > 27 && c < 32);
  }));
  if (count < kMany || count * kShare < looked.size()) return;
  fail_input(name,
             fmt::format("is a binary file, not text: {} of its first {} bytes are control "
                         "characters",
                         with_commas(static_cast<int64_t>(count)),
                         with_commas(static_cast<int64_t>(looked.size()))),
             "is it the right file? text is read as UTF-8");
}

// What a file that is no UTF-8 text looks like at its beginning.
void refuse_other_formats(std::string_view begin, const std::string& name) {
  struct Signature {
    std::string_view bytes;
    const char *what, *hint;
  };
  using namespace std::string_view_literals;
  static constexpr const char* kUnpack = "unpack it first";
  static constexpr const char* kConvert = "convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW";
  static constexpr Signature kSignatures[] = {
      {"\xFF\xFE"sv, "is UTF-16 text, UTF-8 is read", kConvert},
      {"\xFE\xFF"sv, "is UTF-16 text, UTF-8 is read", kConvert},
      {"\x1F\x8B"sv, "is a gzip file, not text", kUnpack},
      {"\x28\xB5\x2F\xFD"sv, "is a Zstandard file, not text", kUnpack},
      {"\xFD\x37zXZ\0"sv, "is an xz file, not text", kUnpack},
      {"BZh91AY&SY"sv, "is a bzip2 file, not text", kUnpack},
      {"PK\x03\x04"sv, "is a zip file, not text", kUnpack},
      {"PAR1"sv, "is a Parquet file, not text", "export its text column as JSONL"},
      {"\x7F\x45LF"sv, "is a program, not text", "is it the right file?"},
      {"\x89PNG"sv, "is an image, not text", "is it the right file?"},
      {"\xFF\xD8\xFF"sv, "is an image, not text", "is it the right file?"},
      {"%PDF-"sv, "is a PDF file, not text", "convert it: pdftotext FILE"},
  };
  for (const Signature& signature : kSignatures) {
    if (begin.starts_with(signature.bytes)) fail_input(name, signature.what, signature.hint);
  }
  refuse_binary(begin, name);
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
      : source_(std::move(source)), name_(std::move(name)), text_key_(std::move(text_key)) {}

  bool next(DocumentPart& part) override {
    std::string_view line;
    while (next_line(line)) {
      if (line_number_ == 1 && line.starts_with(kByteOrderMark)) {
        line.remove_prefix(kByteOrderMark.size());
      }
      if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      part.text = text_of(line);
      part.last = true;
      return true;
    }
    return false;
  }

 private:
  std::string where() const { return fmt::format("{}: line {}", name_, with_commas(line_number_)); }

  // The view holds until the next call.
  bool next_line(std::string_view& line) {
    size_t looked_at = begin_, end;
    while ((end = std::string_view(buffer_.data(), end_).find('\n', looked_at)) ==
           std::string::npos) {
      looked_at = end_;
      if (!read_more(looked_at)) break;
    }
    const bool ended = end == std::string::npos;
    if (ended && begin_ == end_) return false;
    ++line_number_;
    const size_t stop = ended ? end_ : end;
    line = std::string_view(buffer_).substr(begin_, stop - begin_);
    begin_ = ended ? end_ : stop + 1;
    return true;
  }

  // Makes room, moving the unfinished line to the front, and reads. False at the end.
  bool read_more(size_t& looked_at) {
    if (end_ == buffer_.size()) {
      std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(begin_), buffer_.end(),
                buffer_.begin());
      end_ -= begin_;
      looked_at -= begin_;
      begin_ = 0;
      if (2 * end_ >= buffer_.size()) buffer_.resize(std::max(kReadBytes, 2 * buffer_.size()));
    }
    if (static_cast<int64_t>(end_ - begin_) > kMaxJsonLineBytes) {
      ++line_number_;
      fail_input(where(),
                 fmt::format("the line is longer than {} bytes", with_commas(kMaxJsonLineBytes)),
                 "JSONL has one object per line; is this one large JSON value?");
    }
    const size_t count = source_(std::span(buffer_).subspan(end_));
    end_ += count;
    if (line_number_ == 0) refuse_other_formats({buffer_.data(), end_}, name_);
    return count > 0;
  }

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

  ByteSource source_;
  std::string name_, text_key_;
  std::string buffer_;  // bytes [begin_, end_) are read and not yet used
  size_t begin_ = 0, end_ = 0;
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
