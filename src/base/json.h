// JSON from outside: parsed through nlohmann's SAX interface with limits, duplicate keys refused,
// and read through accessors that name file, key and range when something is wrong.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/file.h"

namespace llm {

// Keeps the order of the file, so that what is written back compares well.
using Json = nlohmann::ordered_json;

// Integers up to here are exact in a JSON number, whoever reads it.
inline constexpr int64_t kMaxJsonInteger = int64_t{1} << 53;

struct JsonLimits {
  int max_depth = 64;
  int64_t max_bytes = int64_t{1} << 30;
  int64_t max_values = 20'000'000;
};

// Refused beside what is no JSON: a key twice in one object, a number too large for a double, text
// that is no UTF-8, whatever exceeds the limits. Throws Error{input}: `where` (usually the path)
// with the line and the column (in bytes) where reading stopped, and what is wrong.
Json parse_json(std::string_view text, const std::string& where, const JsonLimits& limits = {});
Json read_json_file(const fs::path& path, const JsonLimits& limits = {});

// The number of the shortest decimal text that is this float, so that 1e-5f is written as 1e-05 and
// not as its nearest double.
double decimal(float value);
Json finite_or_null(double value);  // JSON has neither NaN nor infinity

// One value per line, two spaces of indent, a newline at the end. Invalid UTF-8 is replaced.
std::string to_pretty_text(const Json& value);
std::string to_line(const Json& value);  // one line, no newline

// Typed access to an object read from `where`. Each throws Error{input} if the key is missing or of
// another type or out of range. The versions with a fallback accept a missing or null key.
class JsonObject {
 public:
  JsonObject(const Json& value, std::string where);  // throws if it is no object

  bool has(const std::string& key) const;  // present and not null
  int64_t integer(const std::string& key, int64_t low, int64_t high) const;
  int64_t integer(const std::string& key, int64_t low, int64_t high, int64_t fallback) const;
  double number(const std::string& key, double low, double high) const;
  double number(const std::string& key, double low, double high, double fallback) const;
  bool boolean(const std::string& key) const;
  bool boolean(const std::string& key, bool fallback) const;
  std::string text(const std::string& key) const;
  std::string text(const std::string& key, std::string fallback) const;
  const Json& value(const std::string& key) const;  // any type
  JsonObject object(const std::string& key) const;
  const Json& array(const std::string& key) const;

  const Json& json() const { return *value_; }
  const std::string& where() const { return where_; }
  [[noreturn]] void fail(const std::string& key, const std::string& what) const;

 private:
  const Json* value_;
  std::string where_;
};

}  // namespace llm
