// Which column of a table holds the labels and which one the texts: see labeled_texts.h.
#pragma once

#include <cstddef>
#include <string>

#include "data/labeled_texts.h"

namespace llm {

struct TableColumns {
  bool header = false;
  size_t label = 0, text = 1;
  std::string label_name, text_name;  // of the header, or numbers from 1
};

// Whether the first row is a header.
bool has_header(const TableReader& reader, const LabeledTextOptions& options);
// Whether the first row, a header, has a known name of a label column.
bool header_names_label(const TableReader& reader);

// Throws Error{input} with the columns that are there where the wanted ones are not.
TableColumns find_columns(const TableReader& reader, const LabeledTextOptions& options);

}  // namespace llm
