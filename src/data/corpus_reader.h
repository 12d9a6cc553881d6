// Text files, JSONL files and folders of them as a stream of documents, in memory that does not
// grow with the input.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "data/text_input.h"

namespace llm {

enum class CorpusFormat { by_name, text, jsonl };

// One file of a corpus. `name` is what messages and dataset.json call it.
struct CorpusFile {
  fs::path path;
  std::string name;
  bool jsonl = false;
};

struct CorpusListing {
  std::vector<CorpusFile> files;
  int64_t skipped = 0;  // files in folders that are neither text nor JSONL, by their names
};

// Files as given, and what lies in folders at any depth, in the order of their paths: .txt, .text
// and .md are text, .jsonl and .ndjson JSONL. A file named on its own is text unless its name says
// JSONL or `format` says otherwise; hidden files and what lies in `exclude` are left out. Throws
// Error{input} for what is not there, for .json, and where nothing is found.
CorpusListing list_corpus_files(const std::vector<std::string>& inputs, CorpusFormat format,
                                const fs::path& exclude = {});

// A part of a document. Parts end between characters, as far as the text is UTF-8. Every document
// has exactly one part with `last`, which may be empty.
struct DocumentPart {
  std::string text;
  bool last = false;
  int64_t offset = 0;  // where the part begins in a text file, in bytes
};

// The documents of one file.
class DocumentReader {
 public:
  virtual ~DocumentReader() = default;
  // False after the last document. Throws Error{input} with file and line or offset.
  virtual bool next(DocumentPart& part) = 0;
};

// A text is one document, in parts of about `part_bytes`. Refuses what is no UTF-8 text at first
// sight: UTF-16, compressed files.
std::unique_ptr<DocumentReader> read_text_documents(ByteSource source, std::string name,
                                                    size_t part_bytes = size_t{1} << 20);
// One document per line: the string under `text_key` of the line's JSON object. Empty lines are
// skipped.
std::unique_ptr<DocumentReader> read_jsonl_documents(ByteSource source, std::string name,
                                                     std::string text_key);

// All documents of several files, one after the other.
class CorpusReader {
 public:
  struct FileFigures {
    int64_t bytes = 0, documents = 0;
    uint32_t crc = 0;    // CRC-32C of the whole file
    std::string sha256;  // empty unless asked for
  };

  CorpusReader(std::vector<CorpusFile> files, std::string text_key, bool with_sha256);
  ~CorpusReader();

  bool next(DocumentPart& part);
  // The name of the file that the last part came from.
  const std::string& file_name() const { return files_[figures_.size()].name; }
  int64_t bytes_read() const;
  // One entry per file that has been read to its end.
  std::span<const FileFigures> figures() const { return figures_; }

 private:
  struct OpenFile;
  std::vector<CorpusFile> files_;
  std::string text_key_;
  bool with_sha256_;
  std::unique_ptr<OpenFile> open_;
  std::vector<FileFigures> figures_;
  int64_t finished_bytes_ = 0;
};

}  // namespace llm
