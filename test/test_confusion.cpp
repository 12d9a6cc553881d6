// Figures of a classifier, against numbers worked out by hand.
#include <gtest/gtest.h>

#include "train/confusion.h"

namespace llm {
namespace {

ConfusionMatrix matrix_of(const std::vector<std::vector<int>>& counts) {
  ConfusionMatrix matrix(static_cast<int64_t>(counts.size()));
  for (size_t truth = 0; truth < counts.size(); ++truth) {
    for (size_t said = 0; said < counts.size(); ++said) {
      for (int i = 0; i < counts[truth][said]; ++i) {
        matrix.add(static_cast<int64_t>(truth), static_cast<int64_t>(said));
      }
    }
  }
  return matrix;
}

TEST(ConfusionMatrix, FiguresOfTwoClasses) {
  const ConfusionMatrix matrix = matrix_of({{50, 10}, {5, 35}});
  EXPECT_EQ(matrix.texts(), 100);
  EXPECT_EQ(matrix.at(0, 1), 10);
  EXPECT_DOUBLE_EQ(matrix.accuracy(), 0.85);
  const ClassFigures spam = matrix.of_class(1);
  EXPECT_DOUBLE_EQ(spam.precision, 35.0 / 45);
  EXPECT_DOUBLE_EQ(spam.recall, 35.0 / 40);
  EXPECT_DOUBLE_EQ(spam.f1, 2 * 35.0 / (45 + 40));
  EXPECT_EQ(spam.texts, 40);
  EXPECT_DOUBLE_EQ(matrix.macro().f1, (100.0 / 115 + 70.0 / 85) / 2);
}

TEST(ConfusionMatrix, AClassThatIsNotThereCountsInNoMean) {
  const ConfusionMatrix matrix = matrix_of({{3, 1, 0}, {0, 0, 0}, {0, 0, 2}});
  EXPECT_DOUBLE_EQ(matrix.accuracy(), 5.0 / 6);
  EXPECT_DOUBLE_EQ(matrix.of_class(1).precision, 0);
  EXPECT_DOUBLE_EQ(matrix.of_class(1).recall, 0);
  EXPECT_DOUBLE_EQ(matrix.of_class(1).f1, 0);
  EXPECT_DOUBLE_EQ(matrix.macro().recall, (0.75 + 1) / 2);
}

TEST(ConfusionMatrix, WithoutTextsEverythingIsZero) {
  const ConfusionMatrix matrix(2);
  EXPECT_EQ(matrix.accuracy(), 0);
  EXPECT_EQ(matrix.macro().f1, 0);
}

TEST(ConfusionMatrix, JsonHasRowsOfTheTruth) {
  const Json json = to_json(matrix_of({{2, 1}, {0, 3}}), {"ham", "spam"});
  EXPECT_EQ(json["confusion"], Json::parse("[[2, 1], [0, 3]]"));
  EXPECT_EQ(json["classes"]["spam"]["texts"], 3);
  EXPECT_DOUBLE_EQ(json["classes"]["spam"]["precision"].get<double>(), 0.75);
}

TEST(ConfusionMatrix, TableHasARowForEachLabel) {
  const std::string text = confusion_text(matrix_of({{2, 1}, {0, 3}}), {"ham", "sp\tam"});
  EXPECT_NE(text.find("ham"), std::string::npos);
  EXPECT_NE(text.find("sp am"), std::string::npos) << text;
  EXPECT_NE(text.find("mean of classes"), std::string::npos);
  EXPECT_EQ(
      confusion_text(ConfusionMatrix(50), std::vector<std::string>(50, "x")).find("0         0"),
      std::string::npos);
}

}  // namespace
}  // namespace llm
