// Bounds-checked reading of bytes that come from outside. Every size is compared with what remains
// before anything is read or allocated; a violation throws Error{input} naming file and offset.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/error.h"
#include "base/file.h"

namespace llm {

static_assert(std::endian::native == std::endian::little, "files are little-endian");

// a + b, a * b, or nothing where the result does not fit.
std::optional<int64_t> checked_add(int64_t a, int64_t b);
std::optional<int64_t> checked_multiply(int64_t a, int64_t b);

class ByteReader {
 public:
  // name: what error messages call the source, usually the path.
  ByteReader(Bytes bytes, std::string name) : bytes_(bytes), name_(std::move(name)) {}

  int64_t size() const { return static_cast<int64_t>(bytes_.size()); }
  int64_t offset() const { return offset_; }
  int64_t remaining() const { return size() - offset_; }
  const std::string& name() const { return name_; }

  // Little-endian number; `field` names it in the error.
  template <typename T>
  T read(std::string_view field) {
    static_assert(std::is_arithmetic_v<T>);
    T value;
    std::memcpy(&value, take(sizeof(T), field).data(), sizeof(T));
    return value;
  }
  // The next `count` bytes, without copying.
  Bytes take(int64_t count, std::string_view field);
  std::string_view take_text(int64_t count, std::string_view field);
  void seek(int64_t offset);

  // Throws Error{input} at the current offset.
  [[noreturn]] void fail(const std::string& what, std::string hint = {}) const;

 private:
  Bytes bytes_;
  std::string name_;
  int64_t offset_ = 0;
};

}  // namespace llm
