// Files that are replaced as a whole; how that goes wrong is in test_file.cpp.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/file.h"
#include "support/temporary_directory.h"

namespace llm {
namespace {

using test::TemporaryDirectory;

TEST(WriteFileAtomically, LeavesDevicesAndPipesAlone) {
  const TemporaryDirectory folder;
  const fs::path pipe = folder / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THROW(write_file_atomically(pipe, "text"), Error);
  EXPECT_TRUE(fs::is_fifo(pipe));
  EXPECT_THROW(write_file_atomically("/dev/null", "text"), Error);
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

}  // namespace
}  // namespace llm
