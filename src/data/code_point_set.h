// Sets of Unicode code points by property, taken from the tables of PCRE2.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace llm {

// One bit for each of the 1,114,112 code points.
class CodePointSet {
 public:
  CodePointSet() : words_(kCodePoints / 64) {}
  bool contains(char32_t code_point) const {
    return (words_[code_point / 64] >> (code_point % 64)) & 1;
  }
  void insert(char32_t code_point) { words_[code_point / 64] |= uint64_t{1} << (code_point % 64); }
  void erase(char32_t code_point) {
    words_[code_point / 64] &= ~(uint64_t{1} << (code_point % 64));
  }
  void insert_all(const CodePointSet& other);
  void keep_only(const CodePointSet& other);
  int64_t size() const;

 private:
  static constexpr int64_t kCodePoints = 0x110000;
  std::vector<uint64_t> words_;
};

// The code points of a property in PCRE2's notation, for example "L" (letters) or "Cf" (format).
CodePointSet code_points_of_property(std::string_view property);

// The code points of a script by its Unicode name in any case, for example "latin" or "han".
// Throws Error{usage} at `where` for a name that is no script.
CodePointSet code_points_of_script(std::string_view script, const std::string& where);

}  // namespace llm
