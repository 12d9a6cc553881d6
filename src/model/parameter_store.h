// All parameters of a model in flat arenas: values, gradients and the optimizer's moments share one
// layout, so that an optimizer step, a norm or a checkpoint is one pass over N numbers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.h"

namespace llm {

struct ColumnRange {
  int64_t begin, width;
};

enum class Init { zeros, ones, normal, uniform };  // the last two around 0

struct Parameter {
  std::string name;                  // global: "h.3.attn.c_attn.weight"
  std::vector<std::string> aliases;  // other uses of the same tensor: "lm_head.weight" where tied
  int layer = 0;                     // 0 embeddings, 1..L blocks, L + 1 final norm and head
  std::vector<int64_t> shape;        // logical; linear weights are (out, in)
  int64_t padded_rows = 0;           // rows in memory >= shape[0]; the padding stays zero
  bool decay = false;                // weight decay: matrices only
  bool trainable = true;
  Init init = Init::zeros;
  float init_deviation = 0;
  bool transposed_in_files = false;  // Conv1D of GPT-2: files store (in, out)
  bool adapter = false;              // what is added to a model, not a part of it
  // Of a matrix of blocks: its rows in as many groups of equal size, and for each the columns that
  // may be other than zero. Empty: all may.
  std::vector<ColumnRange> free_columns;

  int64_t offset = 0;           // in elements, a multiple of kParameterAlignment; set by the store
  int64_t size() const;         // logical elements
  int64_t padded_size() const;  // elements in memory
  bool is_free(int64_t element) const;  // a logical element that may be other than zero
  int64_t free_size() const;            // their number
};

// The arenas. Inference needs values only.
struct StoreOptions {
  bool training = false;
  // What the model computes in. bf16: when training, a rounded copy that the ops read lies beside
  // the f32 values, which the optimizer keeps; without training there is nothing but the rounded
  // values.
  DType dtype = DType::f32;
  // Which parameters are trained, where not all are. The others, frozen, have neither gradients nor
  // moments.
  std::function<bool(const Parameter&)> trainable = {};
};

class ParameterStore {
 public:
  // Lays the parameters out, those that are trained before those that are frozen, both in the order
  // given (layer-major), and takes the memory.
  ParameterStore(Backend& backend, std::vector<Parameter> parameters, const StoreOptions& options);

  std::span<const Parameter> parameters() const { return parameters_; }
  // By name or alias; -1 if there is none.
  int find(std::string_view name) const;

  // Views of the padded tensors, in shape (rank 1 or 2). value: what ops read, of dtype().
  Tensor value(int index) const;
  // f32; empty if not training or frozen.
  Tensor gradient(int index) const;
  Tensor first_moment(int index) const;
  Tensor second_moment(int index) const;

  // Whole arenas: values of all parameters, (N); gradients and moments of those that are trained,
  // (M). Their elements are those of the first M values, trained_part().
  Tensor values() const { return values_; }                  // f32; bf16 where nothing else is kept
  Tensor rounded_values() const { return rounded_values_; }  // bf16, or empty
  DType dtype() const { return rounded_values_ ? DType::bf16 : DType::f32; }
  Tensor gradients() const { return gradients_; }
  Tensor first_moments() const { return first_moments_; }
  Tensor second_moments() const { return second_moments_; }
  Tensor trained_part(Tensor values) const;
  // Slice of an arena of trained parameters that belongs to a layer; may be empty.
  Tensor layer_slice(Tensor arena, int layer) const;
  // The lowest layer with a parameter that is trained: no gradient is wanted below it.
  int first_trained_layer() const { return first_trained_layer_; }
  int layers() const { return layers_; }  // number of layer ids, L + 2 for GPT
  Tensor chunk_decay() const { return chunk_decay_; }
  Tensor spare_scalar() const { return spare_scalar_; }  // (1) f32, for any use; only if training

  // Fills chunk_decay: `decay` on parameters that decay, 0 on others.
  void set_weight_decay(float decay);
  // Initial values: element i of a parameter is normal number i of (seed, stream of its name), so
  // neither padding nor other parameters change them. Moments and gradients become zero.
  void initialize(uint64_t seed);
  void zero_gradients();
  // All arenas, padding included, which a fresh allocation does not promise.
  void zero();

  // Copies the logical (unpadded) values of an f32 or bf16 arena to the host; `into` has size()
  // elements.
  void read(int index, Tensor arena, std::span<float> into) const;
  std::vector<float> read(int index, Tensor arena) const;
  // Copies values from the host to the elements from `begin` on, in pieces where one likes, rounded
  // where the arena is bf16; the rounded copy follows.
  void write(int index, Tensor arena, std::span<const float> from, int64_t begin = 0);

  int64_t trainable_count() const;  // elements that may be other than zero

  // Called by the model: before a layer's parameters are used, after, and when the gradients of a
  // layer are complete in the backward pass. Sharding and overlapped communication attach here.
  std::function<void(int layer)> acquire = [](int) {};
  std::function<void(int layer)> release = [](int) {};
  std::function<void(int layer)> gradient_ready = [](int) {};

 private:
  void lay_out();
  void take_memory(const StoreOptions& options);
  Tensor view(Tensor arena, int index) const;
  Tensor trained_view(Tensor arena, int index) const;

  Backend& backend_;
  std::vector<Parameter> parameters_;
  std::vector<int64_t> layer_begin_;  // in the arenas of trained parameters, and their end
  int layers_ = 0, first_trained_layer_ = 0;
  int64_t count_ = 0, trained_ = 0;  // elements in memory
  std::unique_ptr<DeviceMemory> value_memory_, rounded_memory_, gradient_memory_, moment_memory_;
  Tensor values_, rounded_values_, gradients_, first_moments_, second_moments_, chunk_decay_,
      spare_scalar_;
};

}  // namespace llm
