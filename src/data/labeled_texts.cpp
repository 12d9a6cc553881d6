#include "data/labeled_texts.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/rng.h"
#include "data/table_columns.h"

namespace llm {
namespace {

std::string_view without_spaces_around(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpaces) - begin + 1);
}

std::optional<int64_t> whole_number(std::string_view text) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stopped != end) return std::nullopt;
  return value;
}

std::string shown(std::string_view text) {
  return fmt::format("\"{}\"{}", text.substr(0, 60), text.size() > 60 ? "..." : "");
}

// What is wrong with a row, into row.problem; otherwise the text into `result`.
void take_text(LabeledText& result, TableRow& row, const TableColumns& columns,
               const LabeledTextOptions& options) {
  const size_t needed = std::max(options.with_labels ? columns.label : 0, columns.text) + 1;
  if (row.fields.size() < needed) {
    row.problem = fmt::format("{} of {} columns", row.fields.size(), needed);
    row.hint = "a label and a text are needed";
    return;
  }
  result.line = row.line;
  result.text = std::move(row.fields[columns.text]);
  if (without_spaces_around(result.text).empty()) row.problem = "the text is empty";
  if (!options.with_labels) return;
  result.label = without_spaces_around(row.fields[columns.label]);
  if (result.label.empty()) {
    row.problem = "the label is empty";
  } else if (options.known != nullptr && !options.known->find(result.label)) {
    row.problem = fmt::format("the label {} is not known", shown(result.label));
    row.hint = fmt::format("those are known: {}", options.known->joined());
  }
}

}  // namespace

LabelSet::LabelSet(std::vector<std::string> names, const std::string& where)
    : names_(std::move(names)), by_name_(names_.size()) {
  std::iota(by_name_.begin(), by_name_.end(), 0);
  const auto name_of = [&](int32_t index) -> const std::string& {
    return names_[static_cast<size_t>(index)];
  };
  std::sort(by_name_.begin(), by_name_.end(),
            [&](int32_t a, int32_t b) { return name_of(a) < name_of(b); });
  const auto twice =
      std::adjacent_find(by_name_.begin(), by_name_.end(),
                         [&](int32_t a, int32_t b) { return name_of(a) == name_of(b); });
  if (twice == by_name_.end()) return;
  fail_input(where, fmt::format("the label {} is there twice", shown(name_of(*twice))));
}

std::optional<int32_t> LabelSet::find(std::string_view label) const {
  const auto at = std::lower_bound(
      by_name_.begin(), by_name_.end(), label,
      [&](int32_t index, std::string_view wanted) { return name(index) < wanted; });
  if (at == by_name_.end() || name(*at) != label) return std::nullopt;
  return *at;
}

std::string LabelSet::joined() const {
  constexpr size_t kLongest = 200;
  std::string text;
  for (const std::string& name : names_) {
    if (text.size() > kLongest) return text + ", ...";
    text += (text.empty() ? "" : ", ") + name.substr(0, 60);
  }
  return text;
}

LabelSet labels_of(std::span<const LabeledText> texts, const std::string& where) {
  std::set<std::string> found;
  for (const LabeledText& text : texts) found.insert(text.label);
  if (static_cast<int64_t>(found.size()) > LabelSet::kMost) {
    fail_input(where,
               fmt::format("{} different labels, at most {} are possible",
                           with_commas(found.size()), with_commas(LabelSet::kMost)),
               "is it the right column? choose one with --label-column");
  }
  if (found.size() < 2) {
    fail_input(where, fmt::format("{} label in {} texts, at least two are needed", found.size(),
                                  with_commas(texts.size())));
  }
  std::vector<std::string> names(found.begin(), found.end());
  const bool numbers = std::all_of(names.begin(), names.end(),
                                   [](const std::string& name) { return whole_number(name); });
  if (numbers) {
    std::stable_sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
      return *whole_number(a) < *whole_number(b);
    });
  }
  return {std::move(names), where};
}

LabeledTexts read_labeled_texts(const fs::path& path, const LabeledTextOptions& options) {
  return read_labeled_texts(open_bytes(path), input_name(path), options);
}

LabeledTexts read_labeled_texts(ByteSource source, const std::string& name,
                                const LabeledTextOptions& options) {
  TableReader reader(std::move(source), name, options.quoting);
  const TableColumns columns = find_columns(reader, options);
  LabeledTexts result{{}, BadRows(options.skip_bad_rows), columns.label_name, columns.text_name};
  TableRow row;
  bool first = true;
  while (reader.next(row)) {
    const bool header = std::exchange(first, false) && columns.header;
    if (header) continue;
    LabeledText text;
    if (row.problem.empty()) take_text(text, row, columns, options);
    if (row.problem.empty()) {
      result.texts.push_back(std::move(text));
    } else {
      result.bad.add(text_place(name, row.line), row.problem, row.hint);
    }
  }
  require_rows(name, static_cast<int64_t>(result.texts.size()), result.bad);
  return result;
}

std::vector<int64_t> balance_by_sampling_down(std::span<const LabeledText> texts, uint64_t seed) {
  std::map<std::string_view, std::vector<int64_t>> by_label;
  for (size_t i = 0; i < texts.size(); ++i) {
    by_label[texts[i].label].push_back(static_cast<int64_t>(i));
  }
  size_t rarest = texts.size();
  for (const auto& [label, indices] : by_label) rarest = std::min(rarest, indices.size());
  std::vector<int64_t> chosen;
  for (const auto& [label, indices] : by_label) {
    const uint64_t stream = stream_id(fmt::format("balance {}", label));
    for (size_t i = 0; i < rarest; ++i) {
      chosen.push_back(indices[permute_index(i, indices.size(), seed, stream)]);
    }
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

void write_labeled_texts(const fs::path& path, std::span<const LabeledText> texts,
                         std::span<const int64_t> indices) {
  std::string csv;
  append_csv_row(csv, {"label", "text"});
  for (const int64_t index : indices) {
    const LabeledText& text = texts[static_cast<size_t>(index)];
    append_csv_row(csv, {text.label, text.text});
  }
  write_file_atomically(path, csv);
}

}  // namespace llm
