// The tensors of one call of an op, on a device. To check the op, they lie between sentinel bytes,
// outputs start as NaN, and inputs must come back unchanged. To time it, they only have to be
// there.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"

namespace llm {

using Shape = std::vector<int64_t>;
int64_t element_count(const Shape& shape);

// What an op wrote to one tensor.
struct OpResult {
  std::string name;
  DType dtype;
  int64_t columns;
  std::vector<double> values;
};

class OpTensors {
 public:
  using Images = std::vector<std::vector<uint8_t>>;  // the bytes of each tensor and its sentinels

  // To check. Equal seeds give equal inputs on every backend. reference: computes inputs that only
  // an op can make, such as the output of attention for its backward pass.
  OpTensors(Backend& backend, uint64_t seed, Backend& reference);
  // To time: inputs are made fast, and without a reference.
  OpTensors(Backend& backend, uint64_t seed);
  ~OpTensors();
  OpTensors(OpTensors&&) noexcept;

  Backend& backend() const { return *backend_; }
  Backend* reference() const { return reference_; }  // null where the op is timed
  uint64_t seed() const { return seed_; }

  // Numbers around center, rounded to dtype.
  Tensor random(const std::string& name, DType dtype, const Shape& shape, double deviation = 1,
                double center = 0);
  Tensor input(const std::string& name, DType dtype, const Shape& shape,
               std::span<const float> values);
  Tensor integers(const std::string& name, const Shape& shape, std::span<const int32_t> values);
  Tensor integers64(const std::string& name, const Shape& shape, std::span<const int64_t> values);
  Tensor scalar(const std::string& name, double value);  // (1) f32
  Tensor output(const std::string& name, DType dtype, const Shape& shape);
  // Makes an input one that the op may change, and a result. Also takes an empty tensor.
  Tensor changed(Tensor tensor);

  // An input as the op sees it. Not where the op is timed.
  std::vector<float> values(const Tensor& tensor) const;

  // The bytes that the op has to move: every input is read and every output is written once, unless
  // a call that leaves out some of them says otherwise.
  int64_t traffic() const;
  void set_traffic(int64_t bytes) { traffic_ = bytes; }
  int64_t bytes() const;  // of memory

  void reset();             // to what was before the call
  Images download() const;  // waits for the call
  // What was damaged: sentinels, inputs. Empty where nothing was.
  std::vector<std::string> damage(const Images& images) const;
  std::vector<OpResult> results(const Images& images) const;

 private:
  struct Entry;
  Entry& allocate(const std::string& name, DType dtype, const Shape& shape);
  Tensor add(const std::string& name, DType dtype, const Shape& shape, const void* bytes);
  void repeat(Tensor tensor, int64_t filled);

  Backend* backend_;
  Backend* reference_ = nullptr;
  uint64_t seed_;
  int64_t margin_ = 0;    // sentinel bytes at either side
  int64_t traffic_ = -1;  // -1: all tensors
  std::vector<Entry> entries_;
};

}  // namespace llm
