// The program as a whole against bad files and arguments: each is refused quickly, with the right
// exit code and one line that says where and what is wrong and what to do about it.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <set>

#include "support/bad_input.h"
#include "support/subprocess.h"
#include "support/temporary_directory.h"

namespace llm::test {
namespace {

// Whether this program runs within the address space that is limited below.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kCanLimit = false;
constexpr double kSlowdown = 5;  // by sanitizers, without most of the optimization
#else
constexpr bool kCanLimit = true;
constexpr double kSlowdown = 1;
#endif

constexpr double kMostSeconds = 1 * kSlowdown;    // of processor time: the machine may be busy
constexpr double kPatience = 20;                  // of wall time
constexpr int64_t kMemoryLimitKiB = 1 << 20;      // 1 GiB of address space
constexpr int64_t kMostResidentKiB = 300 * 1024;  // of any of them

rusage usage_of_children() {
  rusage usage{};
  getrusage(RUSAGE_CHILDREN, &usage);
  return usage;
}

double processor_seconds() {
  const rusage usage = usage_of_children();
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

std::vector<BadCase> all_cases() {
  std::vector<BadCase> all;
  for (const auto& part :
       {bad_arguments(), bad_data_files(), bad_tokenizer_files(), bad_model_files()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

// What a shell does before it becomes the program.
ProcessResult run_case(const BadCase& bad, const fs::path& sandbox, bool limited) {
  std::string script;
  if (limited) script += "ulimit -v " + std::to_string(kMemoryLimitKiB) + " && ";
  script += bad.full_output ? "exec \"$@\" > /dev/full" : "exec \"$@\"";
  std::vector<std::string> words = {"sh", "-c", script, "sh", LLM_BINARY_PATH};
  words.insert(words.end(), bad.arguments.begin(), bad.arguments.end());
  ProcessOptions options;
  options.directory = sandbox;
  options.input = bad.input;
  options.timeout_seconds = kPatience;
  // Each thread reserves address space; fresh memory must not be taken for zeros.
  options.environment = {"OMP_NUM_THREADS=2", "OPENBLAS_NUM_THREADS=2", "MALLOC_ARENA_MAX=2",
                         "MALLOC_PERTURB_=165"};
  return run_process(words, options);
}

// "llm: WHERE: WHAT (HINT)" is the last line and the only one of its kind.
void expect_message(const BadCase& bad, const std::string& err) {
  const std::vector<std::string> lines = lines_of(err);
  ASSERT_FALSE(lines.empty());
  int messages = 0;
  for (const std::string& line : lines) messages += line.starts_with("llm: ");
  const std::string& last = lines.back();
  EXPECT_EQ(messages, 1);
  EXPECT_TRUE(last.starts_with("llm: ")) << last;
  EXPECT_TRUE(last.find(" (") != std::string::npos && last.ends_with(")")) << "no hint: " << last;
  EXPECT_LT(last.size(), 6000u);
  for (const char c : last) EXPECT_GE(static_cast<unsigned char>(c), 0x20) << last;
  for (const std::string& part : bad.message) {
    EXPECT_NE(last.find(part), std::string::npos) << last << "\ndoes not contain\n" << part;
  }
}

void expect_all_refused(bool limited) {
  const TemporaryDirectory directory;
  const fs::path good = directory / "good", sandbox = directory / "case";
  fs::create_directory(good);
  make_sandbox(good);
  if (testing::Test::HasFatalFailure()) return;
  bool fresh = false;
  for (const BadCase& bad : all_cases()) {
    SCOPED_TRACE(bad.name);
    if (!fresh) {
      fs::remove_all(sandbox);
      fs::copy(good, sandbox, fs::copy_options::recursive);
    }
    fresh = !bad.damage;
    if (bad.damage) bad.damage(sandbox);
    const double before = processor_seconds();
    const ProcessResult result = run_case(bad, sandbox, limited);
    EXPECT_LT(processor_seconds() - before, kMostSeconds);
    EXPECT_EQ(result.exit_code, bad.exit_code) << result.err << result.out;
    expect_message(bad, result.err);
    EXPECT_FALSE(fs::exists(sandbox / "new")) << "what was refused left a folder behind";
  }
  EXPECT_LT(usage_of_children().ru_maxrss, kMostResidentKiB);
}

TEST(BadInput, NamesAreUniqueAndThereAreManyCases) {
  std::set<std::string> names;
  std::set<std::vector<std::string>> commands;
  for (const BadCase& bad : all_cases()) {
    EXPECT_TRUE(names.insert(bad.name).second) << bad.name;
  }
  EXPECT_GE(names.size(), 100u);
}

// Otherwise the cases could fail for another reason than their own.
TEST(BadInput, UndamagedFilesAreAccepted) {
  const TemporaryDirectory directory;
  make_sandbox(directory.path());
  const std::vector<std::vector<std::string>> commands = {
      {"data", "inspect", "d"},
      {"data", "inspect", "d/train_000000.bin"},
      {"tokenizer", "encode", "--tokenizer", "tok", "the fox"},
      {"generate", "run", "-p", "the", "-n", "2"},
      {"generate", "run/checkpoints/step_00000001", "-n", "1"},
      {"inspect", "run"},
      {"plot", "run", "-o", "loss.svg"},
      {"pretrain", "-o", "run", "--resume", "--steps", "3"},
  };
  for (const std::vector<std::string>& command : commands) {
    const BadCase good{.name = command.front(), .arguments = command, .message = {}};
    const ProcessResult result = run_case(good, directory.path(), /*limited=*/kCanLimit);
    EXPECT_EQ(result.exit_code, 0) << testing::PrintToString(command) << "\n" << result.err;
  }
}

TEST(BadInput, ClosedStreamsAreNoTrap) {
  const TemporaryDirectory directory;
  write_file(directory / "text.txt", "the fox and the moon");
  ProcessOptions options;
  options.directory = directory.path();
  const std::string closed = "exec \"$@\" <&- >&- 2>&-";
  const ProcessResult prepared =
      run_process({"sh", "-c", closed, "sh", LLM_BINARY_PATH, "data", "prepare", "text.txt",
                   "--tokenizer", "bytes", "--val-fraction", "0", "-o", "d"},
                  options);
  EXPECT_EQ(prepared.exit_code, 0);
  const ProcessResult inspected = run_llm({"data", "inspect", "d"}, options);
  EXPECT_EQ(inspected.exit_code, 0) << inspected.err;
}

TEST(BadInput, IsRefused) { expect_all_refused(/*limited=*/false); }

TEST(BadInput, IsRefusedUnderAMemoryLimit) {
  if (!kCanLimit) GTEST_SKIP() << "a sanitizer needs more address space than the limit";
  expect_all_refused(/*limited=*/true);
}

}  // namespace
}  // namespace llm::test
