#include "base/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <set>
#include <utility>
#include <vector>

#include "base/error.h"

namespace llm {
namespace {

// Text from outside as it may stand in a message: short, and without control characters.
std::string shown_text(std::string_view text) {
  constexpr size_t kLongest = 60;
  const bool cut = text.size() > kLongest;
  return Json(text.substr(0, kLongest)).dump(-1, ' ', true, Json::error_handler_t::replace) +
         (cut ? "..." : "");
}

// Walks over the text and tells the builder how far the parser has come.
class TrackedIterator {
 public:
  // NOLINTBEGIN(readability-identifier-naming): the names that std::iterator_traits looks for
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;
  // NOLINTEND(readability-identifier-naming)

  TrackedIterator(const char* at, const char** reached) : at_(at), reached_(reached) {}
  reference operator*() const { return *at_; }
  TrackedIterator& operator++() {
    *reached_ = ++at_;
    return *this;
  }
  bool operator==(const TrackedIterator& other) const { return at_ == other.at_; }
  bool operator!=(const TrackedIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** reached_;
};

// Builds the value from SAX events, which nlohmann's parser sends without recursion.
class Builder : public nlohmann::json_sax<Json> {
 public:
  explicit Builder(const JsonLimits& limits) : limits_(limits) {}

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t& text) override {
    if (!std::isfinite(value)) return stop("the number " + shown_text(text) + " is out of range");
    return add(value);
  }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return stop("binary values are not JSON"); }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& value) override {
    if (!keys_.back().insert(value).second)
      return stop("the key " + shown_text(value) + " appears twice");
    pending_key_ = std::move(value);
    return true;
  }
  bool parse_error(std::size_t, const std::string& token,
                   const nlohmann::detail::exception& error) override {
    return stop(describe(error.what(), token));
  }

  Json take() { return std::move(root_); }
  const std::string& problem() const { return problem_; }

 private:
  // nlohmann's own text repeats all that was read of a token, which may be megabytes:
  // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error while parsing
  // value - invalid literal; last read: 'x'; expected ..."
  static std::string describe(std::string text, const std::string& token) {
    if (text.find("out_of_range") != std::string::npos) {
      return "the number " + shown_text(token) + " is out of range";
    }
    if (const size_t at = text.find(": "); at != std::string::npos) text.erase(0, at + 2);
    if (const size_t at = text.find("; last read: "); at != std::string::npos) {
      const size_t expected = text.rfind("; expected ");
      const std::string rest =
          expected != std::string::npos && expected > at ? text.substr(expected) : "";
      text = text.substr(0, at) + ", read " + shown_text(token) + rest;
    }
    return text;
  }
  bool stop(std::string problem) {
    if (problem_.empty()) problem_ = std::move(problem);
    return false;
  }
  Json* place(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    // Appended directly: the set of keys has shown that the key is new, and a search in an ordered
    // object would take time in the number of its keys.
    auto& object = parent.get_ref<Json::object_t&>();
    object.push_back({std::move(pending_key_), std::move(value)});
    return &object.back().second;
  }
  bool add(Json value) {
    if (++values_ > limits_.max_values) {
      return stop(fmt::format("more than {} values", with_commas(limits_.max_values)));
    }
    place(std::move(value));
    return true;
  }
  bool open(Json value) {
    if (static_cast<int>(open_.size()) >= limits_.max_depth) {
      return stop(fmt::format("nested deeper than {} levels", limits_.max_depth));
    }
    if (++values_ > limits_.max_values) {
      return stop(fmt::format("more than {} values", with_commas(limits_.max_values)));
    }
    open_.push_back(place(std::move(value)));
    keys_.emplace_back();
    return true;
  }
  bool close() {
    open_.pop_back();
    keys_.pop_back();
    return true;
  }

  JsonLimits limits_;
  Json root_;
  std::vector<Json*> open_;
  std::vector<std::set<std::string>> keys_;
  std::string pending_key_, problem_;
  int64_t values_ = 0;
};

// Of the character at `position`, from 1; columns count bytes.
std::string line_and_column(std::string_view text, size_t position) {
  const std::string_view before = text.substr(0, position);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t newline = before.rfind('\n');
  const size_t column = newline == std::string_view::npos ? position + 1 : position - newline;
  return fmt::format("line {}, column {}", line, column);
}

}  // namespace

Json parse_json(std::string_view text, const std::string& where, const JsonLimits& limits) {
  if (static_cast<int64_t>(text.size()) > limits.max_bytes) {
    fail_input(where, fmt::format("{} bytes of JSON, the limit is {}", with_commas(text.size()),
                                  with_commas(limits.max_bytes)));
  }
  Builder builder(limits);
  const char* reached = text.data();
  const TrackedIterator begin(text.data(), &reached), end(text.data() + text.size(), &reached);
  if (!Json::sax_parse(begin, end, &builder)) {
    const auto read = static_cast<size_t>(reached - text.data());
    fail_input(fmt::format("{}, {}", where, line_and_column(text, read > 0 ? read - 1 : 0)),
               "not valid JSON: " + builder.problem());
  }
  return builder.take();
}

Json read_json_file(const fs::path& path, const JsonLimits& limits) {
  return parse_json(read_text_file(path, limits.max_bytes), path.string(), limits);
}

Json finite_or_null(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

double decimal(float value) { return std::stod(fmt::format("{}", value)); }

std::string to_pretty_text(const Json& value) {
  return value.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string to_line(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

JsonObject::JsonObject(const Json& value, std::string where)
    : value_(&value), where_(std::move(where)) {
  if (!value.is_object()) {
    fail_input(where_, fmt::format("expected a JSON object, found {}", value.type_name()));
  }
}

void JsonObject::fail(const std::string& key, const std::string& what) const {
  fail_input(where_, fmt::format("{}: {}", shown_text(key), what));
}

bool JsonObject::has(const std::string& key) const {
  const auto at = value_->find(key);
  return at != value_->end() && !at->is_null();
}

const Json& JsonObject::value(const std::string& key) const {
  const auto at = value_->find(key);
  if (at == value_->end()) fail(key, "is missing");
  return *at;
}

int64_t JsonObject::integer(const std::string& key, int64_t low, int64_t high) const {
  const Json& found = value(key);
  if (!found.is_number_integer()) {
    fail(key, fmt::format("expected a whole number, found {}", found.type_name()));
  }
  const bool too_large =
      found.is_number_unsigned() && found.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
  const int64_t number = too_large ? INT64_MAX : found.get<int64_t>();
  if (too_large || number < low || number > high) {
    fail(key, fmt::format("{} is outside [{}, {}]", to_line(found), low, high));
  }
  return number;
}

int64_t JsonObject::integer(const std::string& key, int64_t low, int64_t high,
                            int64_t fallback) const {
  return has(key) ? integer(key, low, high) : fallback;
}

double JsonObject::number(const std::string& key, double low, double high) const {
  const Json& found = value(key);
  if (!found.is_number()) fail(key, fmt::format("expected a number, found {}", found.type_name()));
  const double number = found.get<double>();
  if (!(number >= low && number <= high)) {
    fail(key, fmt::format("{} is outside [{}, {}]", number, low, high));
  }
  return number;
}

double JsonObject::number(const std::string& key, double low, double high, double fallback) const {
  return has(key) ? number(key, low, high) : fallback;
}

bool JsonObject::boolean(const std::string& key) const {
  const Json& found = value(key);
  if (!found.is_boolean()) {
    fail(key, fmt::format("expected true or false, found {}", found.type_name()));
  }
  return found.get<bool>();
}

bool JsonObject::boolean(const std::string& key, bool fallback) const {
  return has(key) ? boolean(key) : fallback;
}

std::string JsonObject::text(const std::string& key) const {
  const Json& found = value(key);
  if (!found.is_string()) fail(key, fmt::format("expected a string, found {}", found.type_name()));
  return found.get<std::string>();
}

std::string JsonObject::text(const std::string& key, std::string fallback) const {
  return has(key) ? text(key) : std::move(fallback);
}

JsonObject JsonObject::object(const std::string& key) const {
  const Json& found = value(key);
  if (!found.is_object()) fail(key, fmt::format("expected an object, found {}", found.type_name()));
  return {found, where_ + ": " + key};
}

const Json& JsonObject::array(const std::string& key) const {
  const Json& found = value(key);
  if (!found.is_array()) fail(key, fmt::format("expected an array, found {}", found.type_name()));
  return found;
}

}  // namespace llm
