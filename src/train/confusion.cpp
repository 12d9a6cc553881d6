#include "train/confusion.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace llm {
namespace {

double quotient(int64_t part, int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0;
}

// Names of labels in a table: short, and no control characters.
std::string shown_name(const std::string& name, size_t width) {
  std::string shown;
  for (const char c : name) {
    if (shown.size() == width) break;
    shown += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return shown;
}

}  // namespace

void ConfusionMatrix::add(int64_t truth, int64_t predicted) {
  LLM_ASSERT(truth >= 0 && truth < labels_ && predicted >= 0 && predicted < labels_);
  ++counts_[static_cast<size_t>(truth * labels_ + predicted)];
}

int64_t ConfusionMatrix::at(int64_t truth, int64_t predicted) const {
  return counts_[static_cast<size_t>(truth * labels_ + predicted)];
}

int64_t ConfusionMatrix::texts() const {
  return std::accumulate(counts_.begin(), counts_.end(), int64_t{0});
}

double ConfusionMatrix::accuracy() const {
  int64_t right = 0;
  for (int64_t label = 0; label < labels_; ++label) right += at(label, label);
  return quotient(right, texts());
}

ClassFigures ConfusionMatrix::of_class(int64_t label) const {
  ClassFigures figures;
  int64_t said = 0;
  for (int64_t other = 0; other < labels_; ++other) {
    said += at(other, label);
    figures.texts += at(label, other);
  }
  const int64_t right = at(label, label);
  figures.precision = quotient(right, said);
  figures.recall = quotient(right, figures.texts);
  figures.f1 = quotient(2 * right, said + figures.texts);
  return figures;
}

ClassFigures ConfusionMatrix::macro() const {
  ClassFigures mean;
  int64_t classes = 0;
  for (int64_t label = 0; label < labels_; ++label) {
    const ClassFigures figures = of_class(label);
    if (figures.texts == 0) continue;
    ++classes;
    mean.precision += figures.precision;
    mean.recall += figures.recall;
    mean.f1 += figures.f1;
    mean.texts += figures.texts;
  }
  const double count = static_cast<double>(std::max<int64_t>(classes, 1));
  mean.precision /= count;
  mean.recall /= count;
  mean.f1 /= count;
  return mean;
}

void ConfusionMatrix::sum_over_ranks(Backend& backend, Comm& comm) {
  const auto memory =
      backend.allocate(static_cast<int64_t>(counts_.size() * sizeof(int64_t)), "evaluation");
  const Tensor counts(memory->data(), DType::i64, {static_cast<int64_t>(counts_.size())});
  backend.copy_to_device(counts, counts_.data());
  comm.all_reduce(counts, Reduce::sum);
  backend.copy_to_host(counts_.data(), counts);
}

Json to_json(const ConfusionMatrix& confusion, const std::vector<std::string>& names) {
  Json json;
  json["texts"] = confusion.texts();
  json["accuracy"] = confusion.accuracy();
  json["macro_f1"] = confusion.macro().f1;
  json["confusion"] = Json::array();
  json["classes"] = Json::object();
  for (int64_t truth = 0; truth < confusion.labels(); ++truth) {
    Json row = Json::array();
    for (int64_t said = 0; said < confusion.labels(); ++said) {
      row.push_back(confusion.at(truth, said));
    }
    json["confusion"].push_back(row);
    const ClassFigures figures = confusion.of_class(truth);
    json["classes"][names[static_cast<size_t>(truth)]] = Json{{"precision", figures.precision},
                                                              {"recall", figures.recall},
                                                              {"f1", figures.f1},
                                                              {"texts", figures.texts}};
  }
  return json;
}

std::string confusion_text(const ConfusionMatrix& confusion,
                           const std::vector<std::string>& names) {
  constexpr int64_t kMostColumns = 12, kMostRows = 40;
  constexpr size_t kName = 16, kColumn = 9;
  const int64_t columns = confusion.labels() <= kMostColumns ? confusion.labels() : 0;
  const int64_t rows = std::min(confusion.labels(), kMostRows);
  const auto name = [&](int64_t label, size_t width) {
    return shown_name(names[static_cast<size_t>(label)], width);
  };
  std::string text = fmt::format("  {:<{}}", columns > 0 ? "true \\ said" : "", kName);
  for (int64_t label = 0; label < columns; ++label) {
    text += fmt::format(" {:>{}}", name(label, kColumn), kColumn);
  }
  text += "   precision  recall      f1   texts\n";
  const auto add_figures = [&](const ClassFigures& figures) {
    text += fmt::format("   {:>9.4f} {:>7.4f} {:>7.4f} {:>7}\n", figures.precision, figures.recall,
                        figures.f1, figures.texts);
  };
  for (int64_t truth = 0; truth < rows; ++truth) {
    text += fmt::format("  {:<{}}", name(truth, kName), kName);
    for (int64_t said = 0; said < columns; ++said) {
      text += fmt::format(" {:>{}}", confusion.at(truth, said), kColumn);
    }
    add_figures(confusion.of_class(truth));
  }
  if (rows < confusion.labels()) {
    text += fmt::format("  ... and {} more\n", confusion.labels() - rows);
  }
  text += fmt::format("  {:<{}}{:>{}}", "mean of classes", kName, "",
                      static_cast<size_t>(columns) * (kColumn + 1));
  add_figures(confusion.macro());
  return text;
}

}  // namespace llm
