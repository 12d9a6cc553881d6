#include "data/split.h"

#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/rng.h"

namespace llm {
namespace {

constexpr double kRounding = 1e-6;    // fractions are written with a few digits
constexpr double kMostRows = 0x1p53;  // whole numbers up to here are exact

[[noreturn]] void fail_split(const std::string& text) {
  fail_usage("--split",
             fmt::format("\"{}\" is no way to split: two or three numbers (train, validation, "
                         "test) that add up to 1, or numbers of rows",
                         text.substr(0, 100)),
             "for example 0.7,0.1,0.2");
}

std::optional<double> parse_part(std::string_view text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stopped != end || !(value >= 0 && value <= kMostRows)) {
    return std::nullopt;
  }
  return value;
}

bool is_whole(double value) { return value == std::floor(value); }

int64_t rows_of(double part, const SplitParts& parts, int64_t rows) {
  if (!parts.fractions) return static_cast<int64_t>(part);
  // 0.7 of 10 rows are 7, although the product is a little less.
  return static_cast<int64_t>(std::floor(part * static_cast<double>(rows) + kRounding));
}

struct Part {
  double wanted;
  std::vector<int64_t>* indices;
  int64_t rows = 0;
};

void count_rows(std::array<Part, 3>& in_order, const SplitParts& parts, int64_t rows) {
  int64_t left = rows;
  Part* last = nullptr;
  for (Part& part : in_order) {
    part.rows = rows_of(part.wanted, parts, rows);
    left -= part.rows;
    if (part.wanted > 0) last = &part;
  }
  if (parts.fractions && last != nullptr) {
    last->rows += left;
    left = 0;
  }
  bool enough = left >= 0;
  for (const Part& part : in_order) enough = enough && (part.wanted <= 0 || part.rows > 0);
  if (enough) return;
  fail_usage("--split", fmt::format("{} rows are too few for {},{},{} (train, validation, test)",
                                    with_commas(rows), parts.train, parts.validation, parts.test));
}

}  // namespace

SplitParts parse_split(const std::string& text) {
  std::vector<double> values;
  std::string_view left = text;
  while (true) {
    const size_t comma = left.find(',');
    const std::optional<double> value = parse_part(left.substr(0, comma));
    if (!value || values.size() == 3) fail_split(text);
    values.push_back(*value);
    if (comma == std::string_view::npos) break;
    left.remove_prefix(comma + 1);
  }
  if (values.size() < 2) fail_split(text);
  values.resize(3);
  SplitParts parts{values[0], values[1], values[2], true};
  const double sum = parts.train + parts.validation + parts.test;
  if (std::abs(sum - 1) > kRounding) {
    const bool whole = is_whole(parts.train) && is_whole(parts.validation) && is_whole(parts.test);
    if (!whole) fail_split(text);
    parts.fractions = false;
  }
  if (!(parts.train > 0)) fail_split(text);
  return parts;
}

SplitOrder split_order_named(const std::string& name) {
  if (name == "shuffled") return SplitOrder::shuffled;
  if (name == "file") return SplitOrder::file;
  fail_usage("--split-order", fmt::format("\"{}\" is none of shuffled, file", name.substr(0, 100)));
}

RowSplit split_rows(int64_t rows, const SplitParts& parts, SplitOrder order, uint64_t seed) {
  LLM_ASSERT(rows >= 0);
  RowSplit split;
  const Part train{parts.train, &split.train}, test{parts.test, &split.test},
      validation{parts.validation, &split.validation};
  std::array<Part, 3> in_order = {train, validation, test};
  if (order == SplitOrder::file) in_order = {train, test, validation};
  count_rows(in_order, parts, rows);
  int64_t at = 0;
  for (const Part& part : in_order) {
    for (int64_t i = 0; i < part.rows; ++i, ++at) {
      const auto index = static_cast<uint64_t>(at), count = static_cast<uint64_t>(rows);
      part.indices->push_back(
          order == SplitOrder::file
              ? at
              : static_cast<int64_t>(permute_index(index, count, seed, stream_id("split"))));
    }
  }
  return split;
}

}  // namespace llm
