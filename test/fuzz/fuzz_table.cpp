// Tables. The first byte chooses the format and how the bytes arrive; the rows must not depend on
// that, and good ones must read back after they were written.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/labeled_texts.h"
#include "support/byte_source.h"

namespace {

struct Result {
  std::vector<llm::TableRow> rows;
  bool refused = false;
};

Result read_all(std::string_view bytes, llm::Quoting quoting, size_t step) {
  Result result;
  try {
    llm::TableReader reader(llm::test::source_of(std::string(bytes), step), "fuzz", quoting);
    llm::TableRow row;
    while (reader.next(row)) result.rows.push_back(row);
  } catch (const llm::Error&) {
    result.refused = true;
  }
  return result;
}

void check(bool holds) {
  if (!holds) __builtin_trap();
}

void check_written(const Result& result) {
  std::string text;
  std::vector<std::vector<std::string>> expected;
  for (const llm::TableRow& row : result.rows) {
    check(row.fields.empty() == !row.problem.empty());
    if (!row.problem.empty()) continue;
    llm::append_csv_row(text, {row.fields.begin(), row.fields.end()});
    expected.push_back(row.fields);
  }
  // What begins like another format, or with a mark, is no table.
  try {
    llm::TableReader reader(llm::test::source_of("\n" + text, 1 << 16), "fuzz", llm::Quoting::csv,
                            ',');
    llm::TableRow row;
    size_t at = 0;
    while (reader.next(row)) check(at < expected.size() && row.fields == expected[at++]);
    check(at == expected.size());
  } catch (const llm::Error&) {
  }
}

// Labels and texts of a table: what is read has both.
void check_labeled(std::string_view bytes, llm::Quoting quoting) {
  llm::LabeledTextOptions options;
  options.quoting = quoting;
  options.skip_bad_rows = true;
  try {
    const llm::LabeledTexts read = llm::read_labeled_texts(
        llm::test::source_of(std::string(bytes), size_t{1} << 16), "fuzz", options);
    check(!read.texts.empty());
    for (const llm::LabeledText& text : read.texts) {
      check(!text.label.empty() && !text.text.empty() && text.line > 0);
    }
    const llm::LabelSet labels = llm::labels_of(read.texts, "fuzz");
    for (const llm::LabeledText& text : read.texts) check(labels.find(text.label).has_value());
    llm::balance_by_sampling_down(read.texts, 1);
  } catch (const llm::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto quoting = static_cast<llm::Quoting>(data[0] % 3);
  const Result in_pieces = read_all(bytes, quoting, data[0] / 3 + 1);
  const Result at_once = read_all(bytes, quoting, size_t{1} << 16);
  if (in_pieces.refused || at_once.refused) return 0;
  check(in_pieces.rows.size() == at_once.rows.size());
  for (size_t i = 0; i < at_once.rows.size(); ++i) {
    const llm::TableRow &a = in_pieces.rows[i], &b = at_once.rows[i];
    check(a.line == b.line && a.fields == b.fields && a.problem == b.problem);
    check(i == 0 || b.line > at_once.rows[i - 1].line);
  }
  check_written(at_once);
  check_labeled(bytes, quoting);
  return 0;
}
