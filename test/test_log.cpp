// log.jsonl: appending, reading back, and cutting records off.
#include <gtest/gtest.h>

#include <string>

#include "base/log.h"
#include "support/expect_error.h"
#include "support/temporary_directory.h"

namespace llm {
namespace {

using test::expect_error;
using test::TemporaryDirectory;

void put_text(const fs::path& path, const std::string& text) {
  FileWriter writer(path);
  writer.write(text);
  writer.close();
}

bool keep_all(const Json&) { return true; }

TEST(JsonLinesLog, AppendsOneLinePerRecord) {
  const TemporaryDirectory folder;
  const fs::path path = folder / "log.jsonl";
  {
    JsonLinesLog log(path);
    log.append({{"step", 1}, {"loss", 2.5}});
    log.append({{"text", "a\nb"}});
    log.sync();
  }
  JsonLinesLog(path).append({{"step", 2}});
  EXPECT_EQ(read_text_file(path),
            "{\"step\":1,\"loss\":2.5}\n{\"text\":\"a\\nb\"}\n{\"step\":2}\n");
  const std::vector<Json> records = read_log(path);
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[1]["text"], "a\nb");
}

TEST(JsonLinesLog, GoesOnAfterATornLine) {
  const TemporaryDirectory folder;
  const fs::path path = folder / "log.jsonl";
  put_text(path, "{\"step\":1}\n{\"st");
  EXPECT_EQ(read_log(path).size(), 1u);
  JsonLinesLog(path).append({{"step", 2}});
  EXPECT_EQ(read_text_file(path), "{\"step\":1}\n{\"step\":2}\n");
}

TEST(ReadLog, RefusesWhatIsNoLog) {
  const TemporaryDirectory folder;
  const fs::path path = folder / "log.jsonl";
  expect_error(ErrorKind::input, "log.jsonl: cannot open", [&] { read_log(path); });
  put_text(path, "{\"step\":1}\n{\"st\n{}\n");
  expect_error(ErrorKind::input, "log.jsonl, record 2, line 1, column 4", [&] { read_log(path); });
  put_text(path, "");
  EXPECT_TRUE(read_log(path).empty());
}

TEST(RewriteLog, KeepsRecordsByteForByte) {
  const TemporaryDirectory folder;
  const fs::path path = folder / "log.jsonl";
  put_text(path, "{\"step\": 1, \"loss\": 1.50}\n{\"step\":2}\n{\"step\":3}\n{\"torn");
  rewrite_log(path, [](const Json& record) { return record["step"] != 2; });
  EXPECT_EQ(read_text_file(path), "{\"step\": 1, \"loss\": 1.50}\n{\"step\":3}\n");
  rewrite_log(path, [](const Json&) { return false; });
  EXPECT_EQ(read_text_file(path), "");
  EXPECT_THROW(rewrite_log(folder / "absent", keep_all), Error);
  EXPECT_FALSE(fs::exists(folder / "absent"));
}

TEST(RewriteLog, LeavesTheOldLogWhenItFails) {
  const TemporaryDirectory folder;
  const fs::path path = folder / "log.jsonl";
  const std::string text = "{\"step\":1}\n{\"step\":2}\n{\"torn";
  put_text(path, text);
  for (int64_t at = 1; at <= 5; ++at) {  // open, write, sync, close, rename
    set_file_hook([&](int64_t number, FileOperation, const fs::path& where) {
      if (number == at) fail_disk(where.string(), "write", ENOSPC);
    });
    EXPECT_THROW(rewrite_log(path, keep_all), Error);
    set_file_hook({});
    EXPECT_EQ(read_text_file(path), text);
  }
  rewrite_log(path, keep_all);
  EXPECT_EQ(read_text_file(path), "{\"step\":1}\n{\"step\":2}\n");
  // Nothing to cut off: nothing is written.
  set_file_hook([](int64_t, FileOperation, const fs::path&) { FAIL(); });
  rewrite_log(path, keep_all);
  set_file_hook({});
}

TEST(LogMessages, GoToStandardErrorAsLines) {
  testing::internal::CaptureStderr();
  log_info("reading a file");
  log_warning("2 lines skipped");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "reading a file\nwarning: 2 lines skipped\n");
}

}  // namespace
}  // namespace llm
