#include "data/classifiable_texts.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "base/error.h"
#include "data/table_columns.h"

namespace llm {
namespace {

constexpr size_t kMostBytes = size_t{1} << 30;

// A file that may be a pipe, for reading it twice.
std::shared_ptr<const std::string> read_all(const fs::path& path) {
  const ByteSource source = open_bytes(path);
  auto all = std::make_shared<std::string>();
  std::vector<char> block(1 << 16);
  while (const size_t size = source(block)) {
    all->append(block.data(), size);
    if (all->size() > kMostBytes) fail_input(input_name(path), "more than 1 GiB", "split it");
  }
  return all;
}

ByteSource bytes_of(std::shared_ptr<const std::string> text) {
  return [text = std::move(text), at = size_t{0}](std::span<char> into) mutable {
    const size_t size = std::min(into.size(), text->size() - at);
    std::memcpy(into.data(), text->data() + at, size);
    at += size;
    return size;
  };
}

// Whether labels of the classifier begin at least half of the first rows.
bool begins_with_labels(const std::vector<TableRow>& rows, const LabelSet& labels) {
  int64_t known = 0, good = 0;
  for (const TableRow& row : rows) {
    if (row.fields.size() < 2) continue;
    ++good;
    std::string_view cell = row.fields[0];
    while (cell.ends_with(' ')) cell.remove_suffix(1);
    while (cell.starts_with(' ')) cell.remove_prefix(1);
    if (labels.find(cell)) ++known;
  }
  return known > 0 && 2 * known >= good;
}

enum class Form { labels_and_texts, texts, lines };

Form form_of(const TableReader& reader, const ClassifiableTextOptions& options,
             const LabeledTextOptions& columns) {
  const bool asked = !options.text_column.empty() || !options.label_column.empty();
  const bool without_labels = options.label_column == "none";
  const fs::path path = reader.name();
  const bool named = path.extension() == ".csv" || path.extension() == ".tsv";
  const std::vector<TableRow>& rows = reader.first_rows();
  if (has_header(reader, columns)) {
    const bool labels = !columns.label_column.empty() || header_names_label(reader);
    return labels && !without_labels ? Form::labels_and_texts : Form::texts;
  }
  if (!columns.label_column.empty()) return Form::labels_and_texts;
  if (!asked && begins_with_labels(rows, *options.labels)) return Form::labels_and_texts;
  if (!asked && !named) return Form::lines;
  if (options.text_column.empty() && !rows.empty() && rows[0].fields.size() > 1) {
    fail_input(text_place(reader.name(), 1), "which column has the text?",
               "name it by its number with --text-column");
  }
  return Form::texts;
}

// A text for each line; empty lines are left out.
LabeledTexts read_lines(ByteSource source, const std::string& name, bool skip_bad_rows) {
  TableReader reader(std::move(source), name, Quoting::none, '\n');  // one field for each line
  LabeledTexts result{{}, BadRows(skip_bad_rows), "", ""};
  TableRow row;
  while (reader.next(row)) {
    if (row.problem.empty() && row.fields[0].find_first_not_of(" \t\r") == std::string::npos) {
      row.problem = "the text is empty";
    }
    if (row.problem.empty()) {
      result.texts.push_back({"", std::move(row.fields[0]), row.line});
    } else {
      result.bad.add(text_place(name, row.line), row.problem, row.hint);
    }
  }
  require_rows(name, static_cast<int64_t>(result.texts.size()), result.bad);
  return result;
}

}  // namespace

ClassifiableTexts read_classifiable_texts(const fs::path& path,
                                          const ClassifiableTextOptions& options) {
  LLM_ASSERT(options.labels != nullptr);
  const std::string name = input_name(path);
  const std::shared_ptr<const std::string> all = read_all(path);
  LabeledTextOptions columns;
  columns.quoting = options.quoting;
  columns.header = options.header;
  if (options.label_column != "none") columns.label_column = options.label_column;
  columns.text_column = options.text_column;
  columns.known = options.labels;
  columns.skip_bad_rows = options.skip_bad_rows;
  const Form form = form_of(TableReader(bytes_of(all), name, options.quoting), options, columns);
  if (form == Form::lines) {
    return {read_lines(bytes_of(all), name, options.skip_bad_rows), false, "a text on each line"};
  }
  columns.with_labels = form == Form::labels_and_texts;
  ClassifiableTexts result{read_labeled_texts(bytes_of(all), name, columns), columns.with_labels,
                           ""};
  result.form = fmt::format("a table, texts in column \"{}\"", result.read.text_column);
  if (result.labeled) result.form += fmt::format(", labels in \"{}\"", result.read.label_column);
  return result;
}

}  // namespace llm
