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
#include <mutex>
#include <utility>

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

// LLM_FAULT=fail:K[+][:SUBSTRING] or stop:K[:SUBSTRING].
FileHook hook_from_environment() {
  const char* text = std::getenv("LLM_FAULT");
  if (text == nullptr || *text == 0) return {};
  const std::string spec(text);
  const bool stop = spec.starts_with("stop:");
  if (!stop && !spec.starts_with("fail:")) {
    fail_usage("LLM_FAULT", "\"" + spec + "\" is neither fail:K nor stop:K");
  }
  char* end = nullptr;
  const long long at = std::strtoll(spec.c_str() + 5, &end, 10);
  const bool onwards = *end == '+';
  if (onwards) ++end;
  const std::string part = *end == ':' ? end + 1 : "";
  auto matching = std::make_shared<int64_t>(0);
  return [=](int64_t, FileOperation, const fs::path& path) {
    if (path.string().find(part) == std::string::npos) return;
    const int64_t number = ++*matching;
    if (number != at && !(onwards && number > at)) return;
    if (stop) _exit(137);
    fail_disk(path.string(), "write", ENOSPC);
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

[[noreturn]] void fail_at(const fs::path& path, const char* what, int error_number) {
  fail_disk(path.string(), what, error_number);
}

void write_fully(int descriptor, const fs::path& path, const char* data, size_t size) {
  before(FileOperation::write, path);
  while (size > 0) {
    const ssize_t written = ::write(descriptor, data, size);
    if (written < 0) {
      if (errno == EINTR) continue;
      fail_at(path, "write", errno);
    }
    data += written;
    size -= static_cast<size_t>(written);
  }
}

}  // namespace

void set_file_hook(FileHook hook) {
  HookState& state = hook_state();
  const std::lock_guard lock(state.mutex);
  state.count = 0;
  state.hook = std::move(hook);
  state.active = static_cast<bool>(state.hook);
}

FileWriter::FileWriter(fs::path path) : path_(std::move(path)) {
  before(FileOperation::open, path_);
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail_at(path_, "cannot create", errno);
}

FileWriter::~FileWriter() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void FileWriter::write(Bytes bytes) {
  const auto* data = reinterpret_cast<const char*>(bytes.data());
  if (buffer_.size() + bytes.size() > kBufferBytes) flush();
  if (bytes.size() >= kBufferBytes) {
    write_fully(descriptor_, path_, data, bytes.size());
    flushed_ += static_cast<int64_t>(bytes.size());
  } else {
    buffer_.append(data, bytes.size());
  }
}

void FileWriter::write_at(int64_t offset, Bytes bytes) {
  flush();
  LLM_ASSERT(offset >= 0 && offset + static_cast<int64_t>(bytes.size()) <= flushed_);
  before(FileOperation::write, path_);
  const auto* data = reinterpret_cast<const char*>(bytes.data());
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t written = ::pwrite(descriptor_, data + done, bytes.size() - done,
                                     offset + static_cast<int64_t>(done));
    if (written < 0) {
      if (errno == EINTR) continue;
      fail_at(path_, "write", errno);
    }
    done += static_cast<size_t>(written);
  }
}

void FileWriter::flush() {
  if (buffer_.empty()) return;
  write_fully(descriptor_, path_, buffer_.data(), buffer_.size());
  flushed_ += static_cast<int64_t>(buffer_.size());
  buffer_.clear();
}

void FileWriter::sync() {
  flush();
  before(FileOperation::sync, path_);
  if (::fsync(descriptor_) != 0) fail_at(path_, "sync", errno);
}

void FileWriter::close() {
  flush();
  before(FileOperation::close, path_);
  if (::close(std::exchange(descriptor_, -1)) != 0) fail_at(path_, "close", errno);
}

int64_t FileWriter::size() const { return flushed_ + static_cast<int64_t>(buffer_.size()); }

FileAppender::FileAppender(fs::path path) : path_(std::move(path)) {
  before(FileOperation::open, path_);
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail_at(path_, "cannot open for appending", errno);
}

FileAppender::~FileAppender() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void FileAppender::append(std::string_view text) {
  write_fully(descriptor_, path_, text.data(), text.size());
}

void FileAppender::sync() {
  before(FileOperation::sync, path_);
  if (::fsync(descriptor_) != 0) fail_at(path_, "sync", errno);
}

MappedFile::MappedFile(fs::path path) : path_(std::move(path)) {
  const int descriptor = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) fail_input(path_.string(), std::string("cannot open: ") + strerror(errno));
  struct stat status {};
  if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor);
    fail_input(path_.string(), "is not a regular file");
  }
  size_ = static_cast<size_t>(status.st_size);
  if (size_ > 0) {
    data_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (data_ == MAP_FAILED) {
      const int error_number = errno;
      ::close(descriptor);
      data_ = nullptr;
      fail_input(path_.string(), std::string("cannot map: ") + strerror(error_number));
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

FileReader::FileReader(fs::path path) : path_(std::move(path)) {
  if (path_ == "-") {
    descriptor_ = ::dup(STDIN_FILENO);
  } else {
    descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  }
  if (descriptor_ < 0) fail_input(path_.string(), std::string("cannot open: ") + strerror(errno));
  struct stat status {};
  if (::fstat(descriptor_, &status) == 0 && S_ISDIR(status.st_mode)) {
    ::close(descriptor_);
    descriptor_ = -1;
    fail_input(path_.string(), "is a folder, not a file");
  }
}

FileReader::~FileReader() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

size_t FileReader::read(std::span<char> into) {
  for (;;) {
    const ssize_t count = ::read(descriptor_, into.data(), into.size());
    if (count >= 0) return static_cast<size_t>(count);
    if (errno != EINTR) {
      fail_input(path_.string(), std::string("cannot read: ") + strerror(errno));
    }
  }
}

std::string read_text_file(const fs::path& path, int64_t max_bytes) {
  FileReader reader(path);
  std::string text;
  for (;;) {
    const size_t before_read = text.size();
    text.resize(before_read + 65536);
    const size_t count = reader.read(std::span(text).subspan(before_read));
    text.resize(before_read + count);
    if (count == 0) return text;
    if (static_cast<int64_t>(text.size()) > max_bytes) {
      fail_input(path.string(), "is larger than the limit of " + with_commas(max_bytes) + " bytes");
    }
  }
}

void write_file_atomically(const fs::path& path, std::string_view text) {
  fs::path temporary = path;
  temporary += ".tmp";
  FileWriter writer(temporary);
  writer.write(text);
  writer.sync();
  writer.close();
  rename_path(temporary, path);
  sync_directory(path.has_parent_path() ? path.parent_path() : fs::path("."));
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
  const fs::path path = directory / ".lock";
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail_at(path, "cannot create", errno);
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    ::close(descriptor_);
    descriptor_ = -1;
    fail_usage(directory.string(), "is in use by another process",
               "wait for it to end, or choose another folder");
  }
}

DirectoryLock::~DirectoryLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace llm
