// The file layer: what reaches the disk, what is refused, and failures at every operation.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "support/expect_error.h"
#include "support/subprocess.h"
#include "support/temporary_directory.h"

namespace llm {
namespace {

using test::expect_error;
using test::TemporaryDirectory;

// What is really there, read without the file layer.
std::string content(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void put(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

// Removes the hook at the end of a test, however it ends.
struct HookGuard {
  ~HookGuard() { set_file_hook({}); }
};

TEST(FileWriter, WritesFrontToBackAndPatches) {
  const TemporaryDirectory folder;
  FileWriter writer(folder / "f");
  writer.write("0123");
  writer.write("456789");
  EXPECT_EQ(writer.size(), 10);
  EXPECT_EQ(content(folder / "f"), "");  // buffered
  writer.flush();
  EXPECT_EQ(content(folder / "f"), "0123456789");
  writer.write_at(2, as_bytes("ab"));
  writer.write("X");
  writer.sync();
  EXPECT_EQ(content(folder / "f"), "01ab456789X");
  EXPECT_EQ(writer.size(), 11);
  writer.close();
  FileWriter more(folder / "f", 4);
  more.write("cd");
  EXPECT_EQ(more.size(), 6);
  more.close();
  EXPECT_EQ(content(folder / "f"), "01abcd");
  FileWriter(folder / "f").close();
  EXPECT_EQ(content(folder / "f"), "");
}

TEST(FileWriter, WritesPiecesOfAnySize) {
  const TemporaryDirectory folder;
  std::string expected;
  FileWriter writer(folder / "f");
  for (const size_t size : {size_t{1}, size_t{1} << 20, (size_t{1} << 20) - 1, size_t{0},
                            (size_t{3} << 20) + 5, size_t{7}}) {
    const std::string piece(size, static_cast<char>('a' + expected.size() % 23));
    writer.write(piece);
    expected += piece;
    EXPECT_EQ(writer.size(), static_cast<int64_t>(expected.size()));
  }
  writer.close();
  EXPECT_TRUE(content(folder / "f") == expected);
}

TEST(FileWriter, ReportsWhatTheDiskSays) {
  const TemporaryDirectory folder;
  expect_error(ErrorKind::disk, (folder / "absent/f").string() + ": cannot create: No such file",
               [&] { FileWriter writer(folder / "absent/f"); });
  expect_error(ErrorKind::disk, "cannot create: Is a directory",
               [&] { FileWriter writer(folder.path()); });
  FileWriter full("/dev/full");
  full.write("x");
  expect_error(ErrorKind::disk,
               "/dev/full: write: No space left on device (free some space on this disk",
               [&] { full.close(); });
}

void do_nothing(int) {}

// A pipe with a slow reader makes short writes, and a timer interrupts them.
TEST(FileWriter, GoesOnAfterShortAndInterruptedWrites) {
  const TemporaryDirectory folder;
  const fs::path path = folder / "pipe";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  std::string expected(size_t{4} << 20, 0);
  for (size_t i = 0; i < expected.size(); ++i) expected[i] = static_cast<char>(i * 7 + i / 251);

  struct sigaction action {
  }, before{};
  action.sa_handler = do_nothing;  // and no SA_RESTART
  ASSERT_EQ(::sigaction(SIGALRM, &action, &before), 0);
  std::string received;
  std::thread reader([&] {
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarm, nullptr);
    std::ifstream file(path, std::ios::binary);
    std::vector<char> block(100'000);
    while (file.read(block.data(), static_cast<std::streamsize>(block.size())), file.gcount() > 0) {
      received.append(block.data(), static_cast<size_t>(file.gcount()));
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  });
  FileWriter writer(path);
  const itimerval often{{0, 500}, {0, 500}}, never{};
  ::setitimer(ITIMER_REAL, &often, nullptr);
  writer.write(expected);
  ::setitimer(ITIMER_REAL, &never, nullptr);
  writer.close();
  reader.join();
  ::sigaction(SIGALRM, &before, nullptr);
  EXPECT_TRUE(received == expected);
}

TEST(FileAppender, AppendsWholeLines) {
  const TemporaryDirectory folder;
  {
    FileAppender appender(folder / "log");
    appender.append("one\n");
    EXPECT_EQ(content(folder / "log"), "one\n");
    appender.append("two\n");
    appender.sync();
  }
  FileAppender(folder / "log").append("three\n");
  EXPECT_EQ(content(folder / "log"), "one\ntwo\nthree\n");
  EXPECT_THROW(FileAppender(folder.path()), Error);
  EXPECT_THROW(FileAppender("/dev/null"), Error);
}

TEST(FileAppender, CutsOffATornLastLine) {
  const TemporaryDirectory folder;
  for (const size_t torn : {size_t{1}, size_t{4095}, size_t{4096}, size_t{10'000}}) {
    for (const std::string& whole :
         {std::string(), std::string("a\n"), std::string(5000, 'b') + "\n"}) {
      put(folder / "log", whole + std::string(torn, 'x'));
      FileAppender(folder / "log").append("next\n");
      EXPECT_TRUE(content(folder / "log") == whole + "next\n") << torn << " " << whole.size();
    }
  }
}

TEST(FileAppender, LeavesNoHalfLineWhenTheDiskIsFull) {
  const TemporaryDirectory folder;
  FileAppender appender(folder / "log");
  appender.append("whole\n");
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  rlimit low = before;
  low.rlim_cur = 20;  // the first bytes of the line still fit
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &low), 0);
  expect_error(ErrorKind::disk, "write: File too large",
               [&] { appender.append(std::string(100, 'x') + "\n"); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, handler);
  EXPECT_EQ(content(folder / "log"), "whole\n");
  appender.append("next\n");
  EXPECT_EQ(content(folder / "log"), "whole\nnext\n");
}

TEST(MappedFile, GivesTheBytes) {
  const TemporaryDirectory folder;
  const std::string text("abc\0def", 7);
  put(folder / "f", text);
  put(folder / "empty", "");
  MappedFile file(folder / "f");
  const auto as_text = [](const MappedFile& mapped) {
    return std::string(reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size());
  };
  EXPECT_EQ(as_text(file), text);
  EXPECT_EQ(file.path(), folder / "f");
  MappedFile moved(std::move(file));
  EXPECT_EQ(as_text(moved), text);
  EXPECT_TRUE(file.bytes().empty());
  MappedFile empty(folder / "empty");
  EXPECT_TRUE(empty.bytes().empty());
  empty = std::move(moved);
  EXPECT_EQ(as_text(empty), text);
}

TEST(MappedFile, RefusesWhatIsNoRegularFile) {
  const TemporaryDirectory folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  for (const fs::path& path : {folder.path(), folder / "pipe", fs::path("/dev/zero")}) {
    expect_error(ErrorKind::input, path.string() + ": is not a regular file",
                 [&] { MappedFile file(path); });
  }
  expect_error(ErrorKind::input, "absent: cannot open: No such file or directory",
               [&] { MappedFile file(folder / "absent"); });
}

TEST(FileReader, ReadsFilesAndStandardInput) {
  const TemporaryDirectory folder;
  put(folder / "f", "from a file");
  EXPECT_EQ(read_text_file(folder / "f"), "from a file");
  FileReader reader(folder / "f");
  char some[5];
  EXPECT_EQ(reader.read(some), 5u);
  EXPECT_EQ(std::string(some, 5), "from ");

  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const int before = ::dup(STDIN_FILENO);
  ::dup2(ends[0], STDIN_FILENO);
  ASSERT_EQ(::write(ends[1], "from a pipe", 11), 11);
  ::close(ends[1]);
  EXPECT_EQ(read_text_file("-"), "from a pipe");
  ::dup2(before, STDIN_FILENO);
  ::close(before);
  ::close(ends[0]);
}

TEST(FileReader, RefusesFoldersAbsentFilesAndTooMuch) {
  const TemporaryDirectory folder;
  expect_error(ErrorKind::input, folder.path().string() + ": is a folder, not a file",
               [&] { FileReader reader(folder.path()); });
  expect_error(ErrorKind::input, "absent: cannot open: No such file",
               [&] { read_text_file(folder / "absent"); });
  put(folder / "f", std::string(1000, 'x'));
  EXPECT_EQ(read_text_file(folder / "f", 1000).size(), 1000u);
  expect_error(ErrorKind::input, "is larger than the limit of 999 bytes",
               [&] { read_text_file(folder / "f", 999); });
  expect_error(ErrorKind::input, "is larger than the limit",
               [&] { read_text_file("/dev/zero", 1'000'000); });
}

TEST(Folders, AreMadeRenamedAndRemoved) {
  const TemporaryDirectory folder;
  make_directories(folder / "a/b/c");
  make_directories(folder / "a/b/c");
  EXPECT_TRUE(fs::is_directory(folder / "a/b/c"));
  put(folder / "a/b/c/f", "x");
  sync_directory(folder / "a/b");
  rename_path(folder / "a/b", folder / "d");
  EXPECT_EQ(content(folder / "d/c/f"), "x");
  remove_tree(folder / "d");
  EXPECT_FALSE(fs::exists(folder / "d"));
  remove_tree(folder / "d");
  put(folder / "file", "x");
  EXPECT_THROW(make_directories(folder / "file/sub"), Error);
  expect_error(ErrorKind::disk, "rename: No such file",
               [&] { rename_path(folder / "absent", folder / "x"); });
  expect_error(ErrorKind::disk, "cannot open the folder",
               [&] { sync_directory(folder / "absent"); });
}

TEST(DirectoryLock, IsHeldByOneAtATime) {
  const TemporaryDirectory folder;
  {
    const DirectoryLock lock(folder.path());
    expect_error(ErrorKind::usage, folder.path().string() + ": is in use by another process",
                 [&] { const DirectoryLock second(folder.path()); });
  }
  const DirectoryLock again(folder.path());
  EXPECT_THROW(DirectoryLock(folder / "absent"), Error);
}

TEST(FileHook, SeesEveryOperationInOrder) {
  const TemporaryDirectory folder;
  const HookGuard guard;
  std::string seen;
  set_file_hook([&](int64_t number, FileOperation operation, const fs::path& path) {
    seen += std::to_string(number) + " " + file_operation_name(operation) + " " +
            fs::relative(path, folder.path()).string() + "\n";
  });
  make_directories(folder / "d");
  write_file_atomically(folder / "d/f", "text");
  FileAppender appender(folder / "log");
  appender.append("line\n");
  appender.sync();
  remove_tree(folder / "d");
  EXPECT_EQ(seen,
            "1 make the folder d\n2 open d/f.tmp\n3 write d/f.tmp\n4 sync d/f.tmp\n"
            "5 close d/f.tmp\n6 rename d/f\n7 sync d\n8 open log\n9 write log\n10 sync log\n"
            "11 remove d\n");
}

// Whatever fails, the file is the old one or the new one, and nothing is left lying about.
TEST(WriteFileAtomically, OldOrNewAtEveryFailure) {
  const TemporaryDirectory folder;
  const HookGuard guard;
  const fs::path path = folder / "f";
  int failures = 0;
  for (int64_t at = 1;; ++at) {
    set_file_hook({});
    write_file_atomically(path, "old");
    bool failed = false;
    set_file_hook([&](int64_t number, FileOperation operation, const fs::path& where) {
      if (number == at) fail_disk(where.string(), file_operation_name(operation), ENOSPC);
    });
    try {
      write_file_atomically(path, "new");
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::disk);
      failed = true;
    }
    // Operations 1 to 5 come before the new file takes the place of the old one.
    EXPECT_EQ(content(path), at <= 5 ? "old" : "new") << at;
    EXPECT_FALSE(fs::exists(folder / "f.tmp")) << at;
    if (!failed) break;
    ++failures;
  }
  EXPECT_EQ(failures, 6);
}

// ---- LLM_FAULT is read once in a process: this program starts itself for it.
constexpr const char* kChildFile = "LLM_TEST_CHILD_FILE";

const bool child_has_run = [] {
  const char* path = std::getenv(kChildFile);
  if (path == nullptr) return false;
  for (const char* text : {"one", "two"}) {
    try {
      write_file_atomically(path, text);
    } catch (const Error& error) {
      fmt::print(stderr, "{}\n", error.what());
      if (error.kind() != ErrorKind::disk) std::_Exit(error.exit_code());
    }
  }
  std::_Exit(0);
}();

test::ProcessResult run_child(const fs::path& path, const std::string& fault) {
  test::ProcessOptions options;
  options.environment = {std::string(kChildFile) + "=" + path.string(), "LLM_FAULT=" + fault};
  return test::run_process({fs::read_symlink("/proc/self/exe")}, options);
}

TEST(FaultVariable, FailsOperations) {
  ASSERT_FALSE(child_has_run);
  const TemporaryDirectory folder;
  const auto errors_of = [&](const std::string& fault) {
    fs::remove(folder / "f");
    const test::ProcessResult result = run_child(folder / "f", fault);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.err;
  };
  EXPECT_EQ(errors_of(""), "");
  EXPECT_EQ(content(folder / "f"), "two");
  EXPECT_NE(errors_of("fail:3").find("f.tmp: sync: No space left on device (free"),
            std::string::npos);
  EXPECT_EQ(content(folder / "f"), "two");
  EXPECT_NE(errors_of("fail:11").find("f: rename: No space left"), std::string::npos);
  EXPECT_EQ(content(folder / "f"), "one");
  const std::string all = errors_of("fail:2+");
  EXPECT_NE(all.find("f.tmp: write: No space"), std::string::npos);
  EXPECT_NE(all.find("f.tmp: open: No space"), std::string::npos);
  EXPECT_FALSE(fs::exists(folder / "f"));
  EXPECT_EQ(errors_of("fail:1:elsewhere"), "");
  EXPECT_NE(errors_of("fail:5:f.tmp").find("f.tmp: open: No space"), std::string::npos);
}

TEST(FaultVariable, StopsTheProcess) {
  const TemporaryDirectory folder;
  for (int at = 1; at <= 12; ++at) {
    fs::remove(folder / "f");
    fs::remove(folder / "f.tmp");
    const auto result = run_child(folder / "f", "stop:" + std::to_string(at));
    EXPECT_EQ(result.exit_code, 137) << at;
    // The renames are operations 5 and 11.
    EXPECT_EQ(content(folder / "f"), at <= 5 ? "" : at <= 11 ? "one" : "two") << at;
  }
  EXPECT_EQ(run_child(folder / "f", "stop:13").exit_code, 0);
}

TEST(FaultVariable, RefusesWhatItDoesNotKnow) {
  const TemporaryDirectory folder;
  for (const char* fault : {"fail", "fail:", "fail:0", "fail:-1", "fail:x", "fail:3x", "stop:2+",
                            "break:1", "fail:3+4"}) {
    const auto result = run_child(folder / "f", fault);
    EXPECT_EQ(result.exit_code, 2) << fault;
    EXPECT_NE(result.err.find("LLM_FAULT: "), std::string::npos) << fault;
  }
}

}  // namespace
}  // namespace llm
