// A list of options, as a function that visits each of them, becomes JSON and is read back from it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/json.h"

namespace llm {

class OptionWriter {
 public:
  void text(const char* name, const std::string& value) { json[name] = value; }
  void text_since(const char* name, const std::string& value) { json[name] = value; }
  void boolean_since(const char* name, bool value) { json[name] = value; }
  void integer(const char* name, int64_t value, int64_t) { json[name] = value; }
  void number(const char* name, double value) { json[name] = value; }
  void boolean(const char* name, bool value) { json[name] = value; }
  template <typename T, typename ToName, typename FromName>
  void named(const char* name, T value, ToName to_name, FromName) {
    json[name] = to_name(value);
  }
  Json json = Json::object();
};

class OptionReader {
 public:
  static constexpr double kMostNumber = 1e30;

  explicit OptionReader(JsonObject object) : object_(std::move(object)) {}
  void text(const char* name, std::string& value) { value = object_.text(name); }
  // Options that came later: runs from before have their default.
  void text_since(const char* name, std::string& value) { value = object_.text(name, value); }
  void boolean_since(const char* name, bool& value) { value = object_.boolean(name, value); }
  void integer(const char* name, int64_t& value, int64_t low) {
    value = object_.integer(name, low, kMaxJsonInteger);
  }
  void number(const char* name, double& value) {
    value = object_.number(name, -kMostNumber, kMostNumber);
  }
  void boolean(const char* name, bool& value) { value = object_.boolean(name); }
  template <typename T, typename ToName, typename FromName>
  void named(const char* name, T& value, ToName, FromName from_name) {
    try {
      value = from_name(object_.text(name), object_.where());
    } catch (const Error& error) {
      fail_input(error.where(), error.problem(), error.hint());
    }
  }

 private:
  JsonObject object_;
};

}  // namespace llm
