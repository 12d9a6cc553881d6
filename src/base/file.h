// The file layer: every write of the program goes through here, so that every failure is noticed
// and tests can make the k-th call fail or stop the process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace llm {

namespace fs = std::filesystem;
using Bytes = std::span<const std::byte>;

inline Bytes as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// What a test hook sees before each operation that changes the disk.
enum class FileOperation { open, write, sync, close, rename, remove, make_directory };
const char* file_operation_name(FileOperation operation);

// Called before each operation with its running number (from 1) and path. It may throw Error, or
// end the process to imitate a kill. For tests only; empty means no hook; setting one starts the
// numbers again. The environment variable LLM_FAULT installs one at first use:
//   fail:K    operation K fails with "no space left on device"
//   fail:K+   operation K and all later ones fail
//   stop:K    the process ends at once before operation K, as kill -9 does
// each with :TEXT after it counts only operations on paths that contain TEXT. Anything else there
// is refused.
using FileHook = std::function<void(int64_t number, FileOperation operation, const fs::path& path)>;
void set_file_hook(FileHook hook);

// A new or replaced file, written front to back (write_at patches what was written already).
// All failures throw Error{disk} with the path. The destructor closes silently: call close().
class FileWriter {
 public:
  // Keeps the first `keep` bytes of the file that is there, which must have them, and goes on
  // behind them.
  explicit FileWriter(fs::path path, int64_t keep = 0);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void write(Bytes bytes);  // loops over short writes and EINTR; buffered up to 1 MiB
  void write(std::string_view text) { write(as_bytes(text)); }
  void write_at(int64_t offset, Bytes bytes);  // flushes first
  void flush();
  void sync();   // flush + fsync
  void close();  // flush + close, checked
  // Bytes of the file so far, buffered ones included.
  int64_t size() const { return flushed_ + static_cast<int64_t>(buffer_.size()); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
  int descriptor_ = -1;
  int64_t flushed_ = 0;
  std::string buffer_;
};

// Appends whole lines to a file; each call reaches the kernel in one write, and one that fails
// leaves no part of its text behind. A last line without an end, torn off by a kill, is cut off at
// opening.
class FileAppender {
 public:
  explicit FileAppender(fs::path path);
  ~FileAppender();
  FileAppender(const FileAppender&) = delete;
  FileAppender& operator=(const FileAppender&) = delete;
  void append(std::string_view text);  // text ends with a newline
  void sync();

 private:
  fs::path path_;
  int descriptor_ = -1;
};

// Read-only memory map of a whole regular file. An empty file gives an empty span. Throws
// Error{input} when the file is not there, is not a regular file or cannot be mapped.
class MappedFile {
 public:
  explicit MappedFile(fs::path path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  Bytes bytes() const { return {static_cast<const std::byte*>(data_), size_}; }
  // Gives back the memory of pages that lie in `part` of bytes(), which will not be needed soon.
  // They are read again if they are.
  void release(Bytes part) const;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
  void* data_ = nullptr;
  size_t size_ = 0;
};

// Sequential reader for inputs that may be larger than memory, or pipes.
class FileReader {
 public:
  explicit FileReader(fs::path path);  // "-" reads standard input
  ~FileReader();
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;
  size_t read(std::span<char> into);  // bytes read; 0 at the end

 private:
  fs::path path_;
  int descriptor_ = -1;
};

// The whole file, or standard input for "-"; refuses more than max_bytes. Throws Error{input}.
std::string read_text_file(const fs::path& path, int64_t max_bytes = int64_t{1} << 30);
// write() makes and syncs path.tmp, which is then renamed over path: old or new, never half. When
// it fails, path.tmp is removed. The folder is still to be synced. Throws Error{usage} where path
// is a device or a pipe.
void write_whole(const fs::path& path, const std::function<void(const fs::path&)>& write);
// The same of a text, and syncs the folder.
void write_file_atomically(const fs::path& path, std::string_view text);

void make_directories(const fs::path& path);  // with those above it; nothing happens if it is there
void rename_path(const fs::path& from, const fs::path& to);
void sync_directory(const fs::path& path);
void remove_tree(const fs::path& path);  // nothing happens if it is not there

// An exclusive lock on a folder, held by an open file DIR/.lock and gone with the process.
class DirectoryLock {
 public:
  explicit DirectoryLock(const fs::path& directory);  // Error{usage} if another process holds it
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace llm
