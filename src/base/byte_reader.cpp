#include "base/byte_reader.h"

namespace llm {

std::optional<int64_t> checked_add(int64_t a, int64_t b) {
  int64_t result;
  if (__builtin_add_overflow(a, b, &result)) return std::nullopt;
  return result;
}

std::optional<int64_t> checked_multiply(int64_t a, int64_t b) {
  int64_t result;
  if (__builtin_mul_overflow(a, b, &result)) return std::nullopt;
  return result;
}

Bytes ByteReader::take(int64_t count, std::string_view field) {
  if (count < 0 || count > remaining()) {
    fail(fmt::format("{} needs {} bytes, {} remain", field, with_commas(count),
                     with_commas(remaining())),
         "truncated?");
  }
  const Bytes result = bytes_.subspan(static_cast<size_t>(offset_), static_cast<size_t>(count));
  offset_ += count;
  return result;
}

std::string_view ByteReader::take_text(int64_t count, std::string_view field) {
  const Bytes bytes = take(count, field);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void ByteReader::seek(int64_t offset) {
  if (offset < 0 || offset > size()) {
    fail(fmt::format("offset {} is outside the {} bytes", offset, with_commas(size())));
  }
  offset_ = offset;
}

void ByteReader::fail(const std::string& what, std::string hint) const {
  fail_input(fmt::format("{}, offset {}", name_, offset_), what, std::move(hint));
}

}  // namespace llm
