// Texts for a classifier to label, out of a file that may or may not tell the right labels.
//
// What the file is. Under a header (see labeled_texts.h), a table: its labels are in the column of
// a known name or in the one that was asked for; without such a column the texts have no labels.
// Without a header, a table of labels and texts if at least half of its first rows begin with a
// label that the classifier knows; otherwise each line is a text, unless the name of the file ends
// with .csv or .tsv or a column was asked for: then it is a table without labels.
#pragma once

#include <string>

#include "data/labeled_texts.h"

namespace llm {

struct ClassifiableTextOptions {
  Quoting quoting = Quoting::by_format;
  Header header = Header::by_content;
  // Names under a header or numbers from 1; empty: as told above. label_column "none": no labels.
  std::string label_column, text_column;
  const LabelSet* labels = nullptr;  // of the classifier; others are bad rows
  bool skip_bad_rows = false;
};

struct ClassifiableTexts {
  LabeledTexts read;  // labels empty where the file has none
  bool labeled = false;
  std::string form;  // for people: what the file was taken for
};

// "-" is standard input. The file is held in memory. Throws Error{input} as read_labeled_texts()
// does, and where a table has several columns and none that is known to hold the texts.
ClassifiableTexts read_classifiable_texts(const fs::path& path,
                                          const ClassifiableTextOptions& options);

}  // namespace llm
