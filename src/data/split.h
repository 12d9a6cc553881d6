// Which rows of a data file train, which validate and which test: a pure function of the number of
// rows, the parts that are asked for and the seed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace llm {

struct SplitParts {
  // Shares of the rows that add up to 1, or numbers of rows.
  double train = 1, validation = 0, test = 0;
  bool fractions = true;
};

// "0.7,0.1,0.2" (train, validation, test), "0.9,0.1" (no test) or numbers of rows, "935,55,110".
// What adds up to 1 are fractions. Throws Error{usage} at --split.
SplitParts parse_split(const std::string& text);

enum class SplitOrder {
  shuffled,  // by the seed
  file,      // the first rows train, the next ones test, the last ones validate
};
// "shuffled" or "file". Throws Error{usage} at --split-order.
SplitOrder split_order_named(const std::string& name);

// Indices of rows. What each part has is in the order in which it was dealt out: file order or
// shuffled.
struct RowSplit {
  std::vector<int64_t> train, validation, test;
};

// Of fractions, each part gets its share of `rows` rounded down, and what is left goes to the last
// part that is not empty: shuffled, the parts are dealt out as train, validation, test; in file
// order as train, test, validation. Numbers of rows may leave some rows unused, the last ones.
// Throws Error{usage} at --split where there are too few rows for a part.
RowSplit split_rows(int64_t rows, const SplitParts& parts, SplitOrder order, uint64_t seed);

}  // namespace llm
