#include "base/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <utility>
#include <vector>

#include "base/error.h"

namespace llm {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;

// The only state of the process as a whole: the hook that tests install.
struct HookState {
  std::mutex mutex;
  FileHook hook;
  std::atomic<bool> active{false};
  int64_t count = 0;
};

[[noreturn]] void fail_at(const fs::path& path, const std::string& what, int error_number) {
  fail_disk(path.string(), what, error_number);
}

[[noreturn]] void fail_reading(const fs::path& path, const char* what, int error_number) {
  fail_input(path.string(), fmt::format("{}: {}", what, strerror(error_number)),
             hint_for_errno(error_number));
}

// LLM_FAULT=fail:K[+][:TEXT] or stop:K[:TEXT].
FileHook hook_from_environment() {
  const char* text = std::getenv("LLM_FAULT");
  if (text == nullptr || *text == 0) return {};
  const std::string_view spec(text);
  const bool stop = spec.starts_with("stop:");
  const char* number = text + 5;
  char* end = nullptr;
  int64_t at = 0;
  if (stop || spec.starts_with("fail:")) at = std::strtoll(number, &end, 10);
  const bool onwards = at > 0 && !stop && *end == '+';
  if (onwards) ++end;
  if (at <= 0 || (*end != 0 && *end != ':')) {
    fail_usage("LLM_FAULT", fmt::format("\"{}\" is none of fail:K, fail:K+, stop:K", spec));
  }
  return [=, part = std::string(*end == ':' ? end + 1 : ""), matching = int64_t{0}](
             int64_t, FileOperation operation, const fs::path& path) mutable {
    if (path.string().find(part) == std::string::npos) return;
    ++matching;
    if (matching != at && !(onwards && matching > at)) return;
    if (stop) _exit(137);
    fail_at(path, file_operation_name(operation), ENOSPC);
  };
}

HookState& hook_state() {
  static HookState state;
  static const bool from_environment = [] {
    state.hook = hook_from_environment();
    state.active = static_cast<bool>(state.hook);
    return true;
  }();
  (void)from_environment;
  return state;
}

void before(FileOperation operation, const fs::path& path) {
  HookState& state = hook_state();
  if (!state.active.load(std::memory_order_relaxed)) return;
  const std::lock_guard lock(state.mutex);
  if (state.hook) state.hook(++state.count, operation, path);
}

// The one place that writes. At `offset`, or at the file's own position where that is negative.
void write_fully(int descriptor, const fs::path& path, Bytes bytes, int64_t offset = -1) {
  LLM_ASSERT(descriptor >= 0, "{} is closed", path.string());
  before(FileOperation::write, path);
  while (!bytes.empty()) {
    const ssize_t written = offset < 0 ? ::write(descriptor, bytes.data(), bytes.size())
                                       : ::pwrite(descriptor, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail_at(path, "write", written < 0 ? errno : ENOSPC);
    bytes = bytes.subspan(static_cast<size_t>(written));
    if (offset >= 0) offset += written;
  }
}

void sync_descriptor(int descriptor, const fs::path& path) {
  LLM_ASSERT(descriptor >= 0, "{} is closed", path.string());
  before(FileOperation::sync, path);
  while (::fsync(descriptor) != 0) {
    if (errno != EINTR) fail_at(path, "sync", errno);
  }
}

int open_for_writing(const fs::path& path, int flags, const char* what) {
  before(FileOperation::open, path);
  for (;;) {
    const int descriptor = ::open(path.c_str(), flags | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor >= 0) return descriptor;
    if (errno != EINTR) fail_at(path, what, errno);
  }
}

// The size of the file up to and with its last newline.
int64_t end_of_last_line(int descriptor, const fs::path& path) {
  char block[4096];
  int64_t end = ::lseek(descriptor, 0, SEEK_END);
  while (end > 0) {
    const int64_t begin = std::max<int64_t>(0, end - static_cast<int64_t>(sizeof(block)));
    const ssize_t count = ::pread(descriptor, block, static_cast<size_t>(end - begin), begin);
    if (count != end - begin) fail_reading(path, "cannot read", count < 0 ? errno : EIO);
    const size_t newline = std::string_view(block, static_cast<size_t>(count)).find_last_of('\n');
    if (newline != std::string_view::npos) return begin + static_cast<int64_t>(newline) + 1;
    end = begin;
  }
  return 0;
}

}  // namespace

const char* file_operation_name(FileOperation operation) {
  switch (operation) {
    case FileOperation::open:
      return "open";
    case FileOperation::write:
      return "write";
    case FileOperation::sync:
      return "sync";
    case FileOperation::close:
      return "close";
    case FileOperation::rename:
      return "rename";
    case FileOperation::remove:
      return "remove";
    case FileOperation::make_directory:
      return "make the folder";
  }
  return "";
}

void set_file_hook(FileHook hook) {
  HookState& state = hook_state();
  const std::lock_guard lock(state.mutex);
  state.count = 0;
  state.hook = std::move(hook);
  state.active = static_cast<bool>(state.hook);
}

FileWriter::FileWriter(fs::path path, int64_t keep) : path_(std::move(path)), flushed_(keep) {
  descriptor_ = open_for_writing(path_, O_WRONLY | (keep > 0 ? 0 : O_TRUNC), "cannot create");
  if (keep == 0) return;
  if (::ftruncate(descriptor_, keep) == 0 && ::lseek(descriptor_, 0, SEEK_END) == keep) return;
  const int error_number = errno;
  ::close(descriptor_);  // the destructor does not run
  fail_at(path_, "cannot go on with the file", error_number);
}

FileWriter::~FileWriter() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void FileWriter::write(Bytes bytes) {
  if (buffer_.size() + bytes.size() > kBufferBytes) flush();
  if (bytes.size() >= kBufferBytes) {
    write_fully(descriptor_, path_, bytes);
    flushed_ += static_cast<int64_t>(bytes.size());
  } else {
    buffer_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
}

void FileWriter::write_at(int64_t offset, Bytes bytes) {
  flush();
  LLM_ASSERT(offset >= 0 && offset + static_cast<int64_t>(bytes.size()) <= flushed_);
  write_fully(descriptor_, path_, bytes, offset);
}

void FileWriter::flush() {
  if (buffer_.empty()) return;
  write_fully(descriptor_, path_, as_bytes(buffer_));
  flushed_ += static_cast<int64_t>(buffer_.size());
  buffer_.clear();
}

void FileWriter::sync() {
  flush();
  sync_descriptor(descriptor_, path_);
}

void FileWriter::close() {
  flush();
  LLM_ASSERT(descriptor_ >= 0, "{} is closed", path_.string());
  before(FileOperation::close, path_);
  // Not repeated on EINTR: on Linux the descriptor is gone then, and nothing is lost.
  if (::close(std::exchange(descriptor_, -1)) != 0 && errno != EINTR) {
    fail_at(path_, "close", errno);
  }
}

FileAppender::FileAppender(fs::path path) : path_(std::move(path)) {
  descriptor_ = open_for_writing(path_, O_RDWR | O_APPEND, "cannot open for appending");
  try {
    struct stat status {};
    if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
      fail_input(path_.string(), "is not a regular file");
    }
    const int64_t end = end_of_last_line(descriptor_, path_);
    if (end < status.st_size && ::ftruncate(descriptor_, end) != 0) {
      fail_at(path_, "cut off the torn last line", errno);
    }
  } catch (...) {
    ::close(descriptor_);  // the destructor does not run
    throw;
  }
}

FileAppender::~FileAppender() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void FileAppender::append(std::string_view text) {
  const int64_t end = ::lseek(descriptor_, 0, SEEK_END);
  try {
    write_fully(descriptor_, path_, as_bytes(text));
  } catch (...) {
    // Half a line would join the next one. Where even this fails, the error on its way tells.
    if (::ftruncate(descriptor_, end) != 0) errno = 0;
    throw;
  }
}

void FileAppender::sync() { sync_descriptor(descriptor_, path_); }

MappedFile::MappedFile(fs::path path) : path_(std::move(path)) {
  const int descriptor = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) fail_reading(path_, "cannot open", errno);
  struct stat status {};
  if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor);
    fail_input(path_.string(), "is not a regular file", "check the path");
  }
  size_ = static_cast<size_t>(status.st_size);
  if (size_ > 0) {
    data_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (data_ == MAP_FAILED) {
      const int error_number = errno;
      ::close(descriptor);
      data_ = nullptr;
      fail_reading(path_, "cannot map", error_number);
    }
  }
  ::close(descriptor);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void MappedFile::release(Bytes part) const {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(part.data()) + page - 1) / page * page;
  const auto end = reinterpret_cast<uintptr_t>(part.data() + part.size()) / page * page;
  if (begin >= end) return;
  // NOLINTNEXTLINE(performance-no-int-to-ptr)
  ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

FileReader::FileReader(fs::path path) : path_(std::move(path)) {
  if (path_ == "-") {
    descriptor_ = ::dup(STDIN_FILENO);
  } else {
    descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  }
  if (descriptor_ < 0) fail_reading(path_, "cannot open", errno);
  struct stat status {};
  if (::fstat(descriptor_, &status) == 0 && S_ISDIR(status.st_mode)) {
    ::close(descriptor_);
    descriptor_ = -1;
    fail_input(path_.string(), "is a folder, not a file", "name the files in it");
  }
}

FileReader::~FileReader() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

size_t FileReader::read(std::span<char> into) {
  for (;;) {
    const ssize_t count = ::read(descriptor_, into.data(), into.size());
    if (count >= 0) return static_cast<size_t>(count);
    if (errno != EINTR) fail_reading(path_, "cannot read", errno);
  }
}

std::string read_text_file(const fs::path& path, int64_t max_bytes) {
  const auto refuse = [&] {
    fail_input(path.string(), "is larger than the limit of " + with_commas(max_bytes) + " bytes",
               "is it the right file?");
  };
  FileReader reader(path);
  std::string text;
  std::error_code error;
  const uintmax_t size = fs::file_size(path, error);  // an error for standard input
  if (!error && size > static_cast<uintmax_t>(max_bytes)) refuse();
  std::vector<char> block(size_t{1} << 18);
  while (const size_t count = reader.read(block)) {
    if (static_cast<int64_t>(text.size() + count) > max_bytes) refuse();
    text.append(block.data(), count);
  }
  return text;
}

void make_directories(const fs::path& path) {
  before(FileOperation::make_directory, path);
  std::error_code code;
  fs::create_directories(path, code);
  if (code) fail_at(path, "cannot make the folder", code.value());
}

void rename_path(const fs::path& from, const fs::path& to) {
  before(FileOperation::rename, to);
  if (::rename(from.c_str(), to.c_str()) != 0) fail_at(to, "rename", errno);
}

void sync_directory(const fs::path& path) {
  before(FileOperation::sync, path);
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) fail_at(path, "cannot open the folder", errno);
  // Some file systems cannot sync a folder and say EINVAL: there is nothing more to be done there.
  const int result = ::fsync(descriptor);
  const int error_number = errno;
  ::close(descriptor);
  if (result != 0 && error_number != EINVAL) fail_at(path, "sync", error_number);
}

void remove_tree(const fs::path& path) {
  before(FileOperation::remove, path);
  std::error_code code;
  fs::remove_all(path, code);
  if (code) fail_at(path, "cannot remove", code.value());
}

DirectoryLock::DirectoryLock(const fs::path& directory) {
  descriptor_ = open_for_writing(directory / ".lock", O_RDWR, "cannot create");
  while (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    const int error_number = errno;
    ::close(descriptor_);
    if (error_number != EWOULDBLOCK) fail_at(directory / ".lock", "cannot lock", error_number);
    fail_usage(directory.string(), "is in use by another process",
               "wait for it to end, or choose another folder");
  }
}

DirectoryLock::~DirectoryLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace llm
