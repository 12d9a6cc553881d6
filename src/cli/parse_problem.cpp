#include "cli/parse_problem.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <optional>
#include <string_view>

namespace llm {
namespace {

std::optional<double> parse_number(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || std::isnan(value)) return std::nullopt;
  return value;
}

// The rest of `text` behind the first `mark`, or nothing.
std::optional<std::string> behind(const std::string& text, std::string_view mark) {
  const size_t at = text.find(mark);
  if (at == std::string::npos) return std::nullopt;
  return text.substr(at + mark.size());
}

// "OPTION: Value X not in range LOW to HIGH" is said of what is no number, too, and of a number
// within the range that is not written as a whole one.
std::optional<std::string> wrong_number(const std::string& problem) {
  constexpr std::string_view kValue = ": Value ", kRange = " not in range ", kTo = " to ";
  const auto value = behind(problem, kValue);
  const auto range = value ? behind(*value, kRange) : std::nullopt;
  const auto high = range ? behind(*range, kTo) : std::nullopt;
  if (!high) return std::nullopt;
  const std::string option = problem.substr(0, problem.find(kValue));
  const std::string text = value->substr(0, value->find(kRange));
  const auto number = parse_number(text), lowest = parse_number(range->substr(0, range->find(kTo))),
             highest = parse_number(*high);
  if (!number) return fmt::format("{}: \"{}\" is not a number", option, text);
  if (!lowest || !highest || *number < *lowest || *number > *highest) {
    return fmt::format("{}: {} is not in the range {}", option, text, *range);
  }
  return fmt::format("{}: {} is not a whole number, such as {:.0f}", option, text, *number);
}

// "Could not convert: OPTION = X"
std::optional<std::string> no_number(const std::string& problem) {
  constexpr std::string_view kMark = "Could not convert: ", kIs = " = ";
  const auto assignment = behind(problem, kMark);
  const auto value = assignment ? behind(*assignment, kIs) : std::nullopt;
  if (!value) return std::nullopt;
  const std::string option = assignment->substr(0, assignment->find(kIs));
  const char* kind = parse_number(*value) ? "a whole number" : "a number";
  return fmt::format("{}: \"{}\" is not {}", option, *value, kind);
}

}  // namespace

std::string plain_problem(const std::string& problem) {
  if (const auto plain = wrong_number(problem)) return *plain;
  if (const auto plain = no_number(problem)) return *plain;
  const size_t twice = problem.find("At Most 1 required but received");
  return twice == std::string::npos ? problem : problem.substr(0, twice) + "given more than once";
}

}  // namespace llm
