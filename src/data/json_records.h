// The records of a JSON file one after the other, in memory that does not grow with the file: the
// elements of a list, or the lines of JSONL. Which of them it is, is told from its first character.
#pragma once

#include <cstdint>
#include <string>

#include "base/json.h"
#include "data/text_input.h"

namespace llm {

struct JsonRecord {
  Json value;
  int64_t line = 0;  // that it begins in, from 1
  // Of a line of JSONL that is no JSON: where reading stopped, what is wrong and a hint.
  std::string where, problem, hint;
};

class JsonRecordReader {
 public:
  // Throws Error{input} for what is no text.
  JsonRecordReader(ByteSource source, std::string name);

  // False after the last record. Throws Error{input} with file, line and column where a list is no
  // JSON: nothing behind that can be read. Of JSONL, the next line can.
  bool next(JsonRecord& record);
  bool is_list() const { return list_; }
  const std::string& name() const { return input_.name(); }

 private:
  bool next_line(JsonRecord& record);
  bool next_element(JsonRecord& record);
  // Takes white space away and returns the character behind it; 0 at the end of the text.
  char skip_space();
  // Bytes of the element at the front of the text, up to the comma or bracket behind it.
  size_t find_element_end();
  void use(size_t count);
  [[noreturn]] void fail_here(const std::string& what) const;

  TextInput input_;
  int64_t column_ = 1;  // in bytes, of where the text goes on
  bool list_ = false, first_ = true, ended_ = false;
};

}  // namespace llm
