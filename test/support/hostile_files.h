// Files that must be refused: by name, quickly and in little memory.
#pragma once

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <ctime>
#include <string>
#include <vector>

#include "base/error.h"

namespace llm::test {

struct HostileFile {
  const char* name;
  std::string bytes;
  const char* message;  // part of it
};

// parse(bytes) throws Error{input} for each of them, with `where` in front and the file's message.
template <typename Parse>
void expect_refused(const std::vector<HostileFile>& files, const std::string& where,
                    const Parse& parse) {
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  const std::clock_t start = std::clock();  // processor time: the machine may be busy
  for (const HostileFile& file : files) {
    try {
      parse(file.bytes);
      ADD_FAILURE() << file.name << ": accepted";
    } catch (const Error& error) {
      const std::string message = error.what();
      EXPECT_EQ(error.exit_code(), static_cast<int>(ErrorKind::input)) << file.name;
      EXPECT_TRUE(message.starts_with(where)) << file.name << ": " << message;
      EXPECT_NE(message.find(file.message), std::string::npos) << file.name << ": " << message;
      EXPECT_LT(message.size(), 600u) << file.name;
    }
  }
  const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  getrusage(RUSAGE_SELF, &after);
  EXPECT_LT(seconds, 2);
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 100 << 10);  // KiB
}

}  // namespace llm::test
