#include <map>

#include "base/error.h"
#include "base/json.h"
#include "support/op_check.h"

namespace llm::test {
namespace {

Json read_golden(const std::string& file) {
  return read_json_file(fs::path(LLM_SOURCE_DIR) / "test" / "golden" / (file + ".json"));
}

}  // namespace

struct Golden::Data {
  struct Array {
    Shape shape;
    std::vector<double> values;
  };
  std::map<std::string, Array> arrays;
};

Golden::Golden(const std::string& file, const std::string& test_case)
    : data_(std::make_unique<Data>()) {
  const Json json = read_golden(file);
  LLM_ASSERT(json.contains(test_case), "{}: no case {}", file, test_case);
  for (const auto& [name, array] : json[test_case].items()) {
    Data::Array& read = data_->arrays[name];
    read.shape = array["shape"].get<Shape>();
    for (const Json& value : array["values"]) {
      // JSON has no infinity.
      read.values.push_back(value.is_string() ? std::stod(value.get<std::string>())
                                              : value.get<double>());
    }
  }
}
Golden::~Golden() = default;

const std::vector<double>& Golden::values(const std::string& name) const {
  LLM_ASSERT(has(name), "no golden {}", name);
  return data_->arrays.at(name).values;
}

std::vector<int32_t> Golden::integers(const std::string& name) const {
  return {values(name).begin(), values(name).end()};
}

const Shape& Golden::shape(const std::string& name) const { return data_->arrays.at(name).shape; }

bool Golden::has(const std::string& name) const { return data_->arrays.contains(name); }

Tensor Golden::input(Workbench& bench, const std::string& name) const {
  return bench.input(name, DType::f32, shape(name), values(name));
}

Tensor Golden::integer_input(Workbench& bench, const std::string& name) const {
  return bench.integers(name, shape(name), integers(name));
}

void Golden::expect(const std::string& label, const Results& results, const std::string& name,
                    const Bounds& bounds) const {
  const Result& result = result_named(results, name);
  expect_close(label + " golden " + name, result.values, values(name), result.columns, bounds);
}

std::vector<std::string> golden_cases(const std::string& file) {
  std::vector<std::string> names;
  const Json json = read_golden(file);
  for (const auto& item : json.items()) names.push_back(item.key());
  return names;
}

}  // namespace llm::test
