// Texts with labels, for a classifier: read from a table, balanced, and written back.
//
// Columns. The first row is a header if the columns that were asked for are in it by name; if it
// has both a known name of a label column (label, category, class, ...) and one of a text column
// (text, message, sentence, ...); or if it has one of them, no cell with a space, and none that
// appears again in its column in the rows behind it. Under a header, columns are found by these
// names; of two columns, the one that is not the other. Without a header, the first column is the
// label and the second one the text.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/bad_rows.h"
#include "data/table_reader.h"

namespace llm {

struct LabeledText {
  std::string label;  // without spaces around it; empty where labels are not read
  std::string text;
  int64_t line = 0;  // in the file, from 1
};

// The labels there are, in the order of their indices: by value where all are whole numbers, else
// by their bytes. So the indices do not depend on the order of the rows; ham is 0 and spam is 1.
class LabelSet {
 public:
  // The most there may be: a column with more distinct values is no label.
  static constexpr int64_t kMost = 1000;

  LabelSet() = default;
  // In this order: as a model folder names them. Throws Error{input} at `where` for a name twice.
  LabelSet(std::vector<std::string> names, const std::string& where);

  int64_t size() const { return static_cast<int64_t>(names_.size()); }
  const std::vector<std::string>& names() const { return names_; }
  const std::string& name(int64_t index) const { return names_[static_cast<size_t>(index)]; }
  // Nothing for a label that is not in it.
  std::optional<int32_t> find(std::string_view label) const;
  std::string joined() const;  // "ham, spam"; of many only the first

 private:
  std::vector<std::string> names_;
  std::vector<int32_t> by_name_;  // indices, sorted by name
};

// The labels of the texts. Throws Error{input} at `where` for fewer than two and more than kMost.
LabelSet labels_of(std::span<const LabeledText> texts, const std::string& where);

enum class Header { by_content, yes, no };

struct LabeledTextOptions {
  Quoting quoting = Quoting::by_format;
  Header header = Header::by_content;
  // Names under a header or numbers from 1; empty: by_content.
  std::string label_column, text_column;
  bool with_labels = true;          // false: texts alone, of one column or with others beside it
  const LabelSet* known = nullptr;  // other labels are bad rows
  bool skip_bad_rows = false;
};

struct LabeledTexts {
  std::vector<LabeledText> texts;  // in file order
  BadRows bad;
  std::string label_column, text_column;  // their names, or numbers from 1 without a header
};

// Bad rows: without one of the two columns, with an empty label, an empty text (nothing but white
// space) or a label that is not known, with a quote that never closes, with bytes that are no
// UTF-8. Throws Error{input} for the first of them with file and line, or counts them; and where
// there is no usable row or no such column.
LabeledTexts read_labeled_texts(const fs::path& path, const LabeledTextOptions& options);
LabeledTexts read_labeled_texts(ByteSource source, const std::string& name,
                                const LabeledTextOptions& options);

// Indices of texts such that every label has as many as the rarest one: of the others a random
// choice, a pure function of the labels, their numbers of texts and the seed. In file order.
std::vector<int64_t> balance_by_sampling_down(std::span<const LabeledText> texts, uint64_t seed);

// Writes a CSV file with the header label,text, which reads back as the same labels and texts.
// `indices`: which of the texts, in which order. Throws Error{disk}.
void write_labeled_texts(const fs::path& path, std::span<const LabeledText> texts,
                         std::span<const int64_t> indices);

}  // namespace llm
