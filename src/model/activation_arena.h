// Memory for activations: a stack, planned before the first step. The forward pass pushes, the
// backward pass pops in reverse order, so lifetimes nest and memory is reused without a search.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>

#include "backend/backend.h"

namespace llm {

class ActivationArena {
 public:
  ActivationArena(Backend& backend, int64_t bytes);

  // Contents undefined. Asserts that the plan was large enough.
  Tensor take(DType dtype, std::initializer_list<int64_t> shape);

  int64_t mark() const { return used_; }
  void rewind(int64_t mark);
  int64_t capacity() const { return capacity_; }  // bytes
  int64_t room() const;                           // bytes of the largest tensor that can be taken
  int64_t high_water() const { return high_water_; }
  void reset() { used_ = 0; }

 private:
  std::unique_ptr<DeviceMemory> memory_;
  int64_t capacity_, used_ = 0, high_water_ = 0;
};

// Gives everything taken after its construction back at the end of a scope.
class ArenaScope {
 public:
  explicit ArenaScope(ActivationArena& arena) : arena_(arena), mark_(arena.mark()) {}
  ~ArenaScope() { arena_.rewind(mark_); }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  ActivationArena& arena_;
  int64_t mark_;
};

}  // namespace llm
