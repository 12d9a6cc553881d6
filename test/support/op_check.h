// How an op is checked: a test describes one call as run(backend, case), which makes its inputs
// from the case alone, calls the op and returns all that it wrote. The same call on the plain CPU
// loops is what it is compared with; golden values and derivatives in double check those.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/comm.h"

namespace llm::test {

// --- Who is checked

struct BackendUnderTest {
  std::string name;
  std::unique_ptr<Backend> backend;
  bool one_thread;
};
// The backend of a GPU, counted from 0, with its default choices; null where there is none.
std::unique_ptr<Backend> make_gpu_backend(int device = 0);
// NCCL on it, of the processes that were started together; null where there is none.
std::unique_ptr<Comm> make_gpu_comm(Backend& gpu);
inline constexpr const char* kGpuLabel = "cuda";  // its name here, and how its labels begin
// The fast CPU bodies with one thread and with several, and the GPU if there is one.
const std::vector<BackendUnderTest>& backends_under_test();
Backend& plain_backend();  // the plain loops: the specification
// Both of the above: who is compared with golden values.
std::vector<std::pair<std::string, Backend*>> all_backends();

// --- One call

// What an op wrote to one tensor.
struct Result {
  std::string name;
  int64_t columns;
  std::vector<double> values;
};
using Results = std::vector<Result>;
const Result& result_named(const Results& results, const std::string& name);

using Shape = std::vector<int64_t>;
int64_t element_count(const Shape& shape);

// Device tensors of one call. Behind every tensor lie sentinel bytes; outputs start as NaN; inputs
// must come back unchanged. finish() checks the first and the last and downloads the outputs.
class Workbench {
 public:
  // seed: names the random numbers; equal seeds give equal inputs on every backend.
  Workbench(Backend& backend, std::string seed);
  ~Workbench();

  // Normal numbers around center, rounded to dtype.
  Tensor random(const std::string& name, DType dtype, const Shape& shape, double deviation = 1,
                double center = 0);
  Tensor input(const std::string& name, DType dtype, const Shape& shape,
               std::span<const double> values);
  Tensor integers(const std::string& name, const Shape& shape, std::span<const int32_t> values);
  Tensor integers64(const std::string& name, const Shape& shape, std::span<const int64_t> values);
  Tensor scalar(const std::string& name, double value);  // (1) f32
  Tensor output(const std::string& name, DType dtype, const Shape& shape);
  // Makes an input one that the op may change, and a result.
  Tensor changed(Tensor tensor);

  Backend& backend() { return backend_; }
  Results finish();

 private:
  struct Entry;
  Tensor add(const std::string& name, DType dtype, const Shape& shape, const void* bytes,
             bool written);
  Backend& backend_;
  std::string seed_;
  std::vector<Entry> entries_;
};

Tensor tensor_of(void* data, DType dtype, const Shape& shape);
std::vector<double> random_values(const std::string& seed, const std::string& name, int64_t count,
                                  double deviation = 1, double center = 0);

// --- Comparison

struct Bounds {
  double normalized_error;    // sqrt(sum (a - b)^2 / sum b^2) over the tensor
  double worst_row;           // the same per row, at least a tenth of an average row in the divisor
  double absolute, relative;  // |a - b| <= absolute + relative |b| for every element
};
// For outputs of f32 sums of up to a few thousand terms, and for bf16 outputs of equal f32 values
// that may round to neighbours.
inline constexpr Bounds kF32Bounds{1e-6, 4e-6, 2e-6, 4e-6};
inline constexpr Bounds kBf16Bounds{1e-3, 6e-3, 1e-5, 8e-3};

// What a GPU is given where the vectorized CPU code has `cpu`: its sums run in f32 where the CPU's
// run in f64, its exponentials are approximate. Keeps the normalized mean squared error (the square
// of normalized_error) of f32 below 1e-10, of bf16 below 1e-5, of attention in bf16 below 1e-4.
Bounds gpu_bounds(const Bounds& cpu);

struct Errors {
  double normalized_error = 0, worst_row = 0;
  double worst_element = 0;  // |a - b| / (absolute + relative |b|): at most 1
};
// NaN equals NaN (what neither wrote); anything else that is not finite must be equal.
Errors errors_of(std::span<const double> actual, std::span<const double> expected, int64_t columns,
                 const Bounds& bounds);
// Fails the running test where a bound is exceeded. With the environment variable LLM_SHOW_ERRORS
// prints what was measured.
void expect_close(const std::string& label, std::span<const double> actual,
                  std::span<const double> expected, int64_t columns, const Bounds& bounds);
void expect_close(const std::string& label, const Results& actual, const Results& expected,
                  const Bounds& bounds);
// The same with exactly these bounds, also on a GPU.
void expect_within(const std::string& label, std::span<const double> actual,
                   std::span<const double> expected, int64_t columns, const Bounds& bounds);
void expect_same_bits(const std::string& label, const Results& actual, const Results& expected);

inline constexpr int kRepeats = 20;

// Every backend under test on every case: close to the plain loops, and the same bits each time.
// on_gpu: the bounds there, gpu_bounds() of the others where not given.
template <typename Case>
void check_cases(std::span<const Case> cases,
                 const std::function<Results(Backend&, const Case&)>& run,
                 const std::function<Bounds(const Case&)>& bounds, int repeats = kRepeats,
                 const std::function<Bounds(const Case&)>& on_gpu = {}) {
  for (const Case& each : cases) {
    const Results expected = run(plain_backend(), each);
    for (const BackendUnderTest& tested : backends_under_test()) {
      const std::string label = tested.name + " " + each.name();
      const Results first = run(*tested.backend, each);
      if (on_gpu && tested.name == kGpuLabel) {
        for (size_t i = 0; i < first.size(); ++i) {
          expect_within(label + " " + first[i].name, first[i].values, expected[i].values,
                        expected[i].columns, on_gpu(each));
        }
      } else {
        expect_close(label, first, expected, bounds(each));
      }
      // What one thread does again, it does the same way; twice is enough there.
      const int times = tested.one_thread ? std::min(repeats, 2) : repeats;
      for (int i = 1; i < times; ++i) {
        expect_same_bits(label, run(*tested.backend, each), first);
        if (testing::Test::HasFailure()) return;
      }
      if (testing::Test::HasFailure()) return;
    }
  }
}

// --- Derivatives

// (f(x + h) - f(x - h)) / 2h for each element of x, in double.
std::vector<double> central_differences(std::vector<double> x,
                                        const std::function<double(std::span<const double>)>& f,
                                        double step = 1e-5);
double dot(std::span<const double> a, std::span<const double> b);

// --- Golden values: test/golden/<file>.json, made by scripts/golden_ops.py

class Golden {
 public:
  Golden(const std::string& file, const std::string& test_case);
  ~Golden();
  const std::vector<double>& values(const std::string& name) const;
  std::vector<int32_t> integers(const std::string& name) const;
  const Shape& shape(const std::string& name) const;
  double number(const std::string& name) const { return values(name)[0]; }
  bool has(const std::string& name) const;
  Tensor input(Workbench& bench, const std::string& name) const;  // f32
  Tensor integer_input(Workbench& bench, const std::string& name) const;
  // Compares the result of the same name.
  void expect(const std::string& label, const Results& results, const std::string& name,
              const Bounds& bounds) const;

 private:
  struct Data;
  std::unique_ptr<Data> data_;
};
std::vector<std::string> golden_cases(const std::string& file);

}  // namespace llm::test
