// Rows of a data file that cannot be used: an error at the first one, or counted.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace llm {

class BadRows {
 public:
  static constexpr size_t kShown = 5;

  // Without `skip` the first bad row is an error.
  explicit BadRows(bool skip = false) : skip_(skip) {}

  // where: file and line. Throws Error{input}, unless bad rows are to be skipped.
  void add(const std::string& where, const std::string& what, std::string_view hint = {});
  int64_t count() const { return count_; }
  // "WHERE: WHAT" of the first kShown of them.
  const std::vector<std::string>& first() const { return first_; }
  bool skip() const { return skip_; }

 private:
  bool skip_;
  int64_t count_ = 0;
  std::vector<std::string> first_;
};

// Throws Error{input} at `name` where nothing usable was read, with the first bad row in the text.
void require_rows(const std::string& name, int64_t usable, const BadRows& bad);

}  // namespace llm
