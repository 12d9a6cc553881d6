#include "base/json.h"

#include <fmt/format.h>

#include <cmath>
#include <set>
#include <vector>

#include "base/error.h"

namespace llm {
namespace {

// Builds the value from SAX events, which nlohmann's parser sends without recursion.
class Builder : public nlohmann::json_sax<Json> {
 public:
  Builder(const JsonLimits& limits) : limits_(limits) {}

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t& text) override {
    if (!std::isfinite(value)) return stop("number " + text + " is out of range");
    return add(value);
  }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return stop("binary values are not JSON"); }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& value) override {
    if (!keys_.back().insert(value).second) return stop("key \"" + value + "\" appears twice");
    pending_key_ = std::move(value);
    return true;
  }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    position_ = position;
    const std::string text = error.what();
    // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error ..."
    const size_t colon = text.find(": ");
    return stop(colon == std::string::npos ? text : text.substr(colon + 2));
  }

  Json take() { return std::move(root_); }
  const std::string& problem() const { return problem_; }
  std::size_t position() const { return position_; }

 private:
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
  std::size_t position_ = 0;
  int64_t values_ = 0;
};

std::string line_and_column(std::string_view text, size_t position) {
  size_t line = 1, column = 1;
  for (const char c : text.substr(0, std::min(position, text.size()))) {
    if (c == '\n') ++line, column = 0;
    ++column;
  }
  return fmt::format("line {}, column {}", line, column);
}

}  // namespace

Json parse_json(std::string_view text, const std::string& where, const JsonLimits& limits) {
  if (static_cast<int64_t>(text.size()) > limits.max_bytes) {
    fail_input(where, fmt::format("{} bytes of JSON, the limit is {}", with_commas(text.size()),
                                  with_commas(limits.max_bytes)));
  }
  Builder builder(limits);
  if (!Json::sax_parse(text, &builder)) {
    const std::string at =
        builder.position() > 0 ? ", " + line_and_column(text, builder.position()) : "";
    fail_input(where + at, "not valid JSON: " + builder.problem());
  }
  return builder.take();
}

Json read_json_file(const fs::path& path, const JsonLimits& limits) {
  return parse_json(read_text_file(path, limits.max_bytes), path.string(), limits);
}

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
  fail_input(where_, fmt::format("\"{}\": {}", key, what));
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
  return has(key) ? text(key) : fallback;
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
