#include "model/layer.h"

#include <cmath>
#include <utility>

namespace llm {
namespace {

Tensor optional_value(const BlockContext& context, int index) {
  return index < 0 ? Tensor() : context.store.value(index);
}
Tensor optional_gradient(const BlockContext& context, int index) {
  return index < 0 ? Tensor() : context.store.gradient(index);
}

Weight as_weight(Tensor data) {
  Weight weight;
  weight.data = data;
  return weight;
}

}  // namespace

Dropout BlockContext::dropout(float rate, uint32_t site) const {
  Dropout result;
  if (!training || rate == 0) return result;
  result.rate = rate;
  result.seed = dropout_seed;
  result.site = site;
  result.sample_ids = sample_ids;
  return result;
}

uint32_t dropout_site(int64_t layer, uint32_t place) {
  return 16 * (static_cast<uint32_t>(layer) + 1) + place;
}

void Norm::forward(const BlockContext& context, Tensor y, Tensor mean, Tensor rstd,
                   Tensor x) const {
  context.backend.layernorm_forward(y, mean, rstd, x, context.store.value(weight),
                                    optional_value(context, bias), epsilon);
}

void Norm::forward_residual(const BlockContext& context, Tensor sum, Tensor y, Tensor mean,
                            Tensor rstd, Tensor a, Tensor b) const {
  context.backend.residual_layernorm_forward(sum, y, mean, rstd, a, b, context.store.value(weight),
                                             optional_value(context, bias), epsilon);
}

void Norm::backward(const BlockContext& context, Tensor dx, Tensor dx_sum, Tensor dy, Tensor x,
                    Tensor mean, Tensor rstd, bool accumulate) const {
  context.backend.layernorm_backward(dx, optional_gradient(context, weight),
                                     optional_gradient(context, bias), dx_sum, dy, x, mean, rstd,
                                     context.store.value(weight), accumulate);
}

bool Norm::is_trained(const BlockContext& context) const {
  return optional_gradient(context, weight) || optional_gradient(context, bias);
}

Weight Linear::weight_of(const BlockContext& context) const {
  return as_weight(context.store.value(weight));
}

Tensor Linear::bias_of(const BlockContext& context) const { return optional_value(context, bias); }

Tensor Linear::bias_gradient(const BlockContext& context) const {
  return optional_gradient(context, bias);
}

void Linear::forward(const BlockContext& context, Tensor y, Tensor& low, Tensor x) const {
  context.backend.linear_forward(y, x, weight_of(context), bias_of(context));
  if (!adapter) return;
  low = forward_low(context, x);
  add_adapter(context, y, low);
}

void Linear::forward_gelu(const BlockContext& context, Tensor y, Tensor pre, Tensor& low,
                          Tensor x) const {
  if (!adapter) {
    return context.backend.linear_gelu_forward(y, pre, x, weight_of(context), bias_of(context));
  }
  const Tensor sum = pre ? pre : y;
  forward(context, sum, low, x);
  context.backend.gelu_forward(y, sum);
}

Tensor Linear::dropped(const BlockContext& context, Tensor x) const {
  const Dropout mask = context.dropout(adapter->dropout, adapter->site);
  if (mask.rate == 0) return x;
  const Tensor result = context.arena.take(x.dtype, {x.rows(), x.columns()});
  const auto by_sample = [&](Tensor rows) {
    return rows.view({context.batch, rows.size() / context.batch});
  };
  context.backend.dropout(by_sample(result), by_sample(x), mask);
  return result;
}

Tensor Linear::forward_low(const BlockContext& context, Tensor x) const {
  if (!adapter) return {};
  const Tensor a = context.store.value(adapter->a);
  const Tensor low = context.arena.take(x.dtype, {x.rows(), a.dim(0)});
  const ArenaScope scope(context.arena);
  context.backend.linear_forward(low, dropped(context, x), as_weight(a), {});
  context.backend.scale(low, context.adapter_scale);
  return low;
}

// y += low b, which is what the backward pass of a linear layer with the weight b does.
void Linear::add_adapter(const BlockContext& context, Tensor y, Tensor low) const {
  context.backend.linear_backward(y, {}, {}, low, {}, as_weight(context.store.value(adapter->b)),
                                  /*accumulate=*/true);
}

void Linear::backward(const BlockContext& context, Tensor dx, Tensor dy, Tensor low, Tensor x,
                      bool with_bias) const {
  const Tensor dweight = optional_gradient(context, weight);
  const Tensor dbias = with_bias ? bias_gradient(context) : Tensor();
  if (dx || dweight || dbias) {
    context.backend.linear_backward(dx, dweight, dbias, dy, x, weight_of(context),
                                    /*accumulate=*/false);
  }
  if (adapter) adapter_backward(context, dx, dy, low, x);
}

void Linear::adapter_backward(const BlockContext& context, Tensor dx, Tensor dy, Tensor low,
                              Tensor x) const {
  Backend& backend = context.backend;
  const ArenaScope scope(context.arena);
  const Tensor a = context.store.value(adapter->a), b = context.store.value(adapter->b);
  const Tensor da = optional_gradient(context, adapter->a);
  if (const Tensor db = optional_gradient(context, adapter->b)) {
    backend.linear_backward({}, db, {}, low, dy, as_weight(b), /*accumulate=*/false);
    const int64_t rank = b.dim(0) / std::ssize(adapter->parts);
    for (int64_t i = 0; i < std::ssize(adapter->parts); ++i) {
      const ColumnRange& part = adapter->parts[static_cast<size_t>(i)];
      backend.zero_other_columns(db.slice(0, i * rank, rank), part.begin, part.width);
    }
  }
  const Tensor dlow = context.arena.take(dy.dtype, {dy.rows(), a.dim(0)});
  backend.linear_forward(dlow, dy, as_weight(b), {});
  backend.scale(dlow, context.adapter_scale);
  const Dropout mask = context.dropout(adapter->dropout, adapter->site);
  if (mask.rate == 0) {
    return backend.linear_backward(dx, da, {}, dlow, x, as_weight(a), /*accumulate=*/true);
  }
  const Tensor dropped_x = dropped(context, x);
  if (da) backend.linear_backward({}, da, {}, dlow, dropped_x, as_weight(a), false);
  if (!dx) return;
  const Tensor masked = dropped_x;  // read for the last time above
  backend.linear_backward(masked, {}, {}, dlow, {}, as_weight(a), /*accumulate=*/false);
  const Tensor by_sample = masked.view({context.batch, masked.size() / context.batch});
  backend.dropout(by_sample, by_sample, mask);
  backend.add(dx, dx, masked);
}

void Linear::backward_gelu(const BlockContext& context, Tensor dpre, Tensor below_bias, Tensor dy,
                           Tensor low, Tensor x, Tensor pre, bool with_bias) const {
  if (!adapter) {
    return context.backend.linear_backward_gelu(dpre, optional_gradient(context, weight),
                                                with_bias ? bias_gradient(context) : Tensor(),
                                                below_bias, dy, x, pre, weight_of(context));
  }
  backward(context, dpre, dy, low, x, with_bias);
  context.backend.gelu_backward(dpre, dpre, pre);
  if (below_bias) context.backend.bias_backward(below_bias, dpre);
}

Parameter LayerParameters::named(const std::string& name, std::vector<int64_t> shape,
                                 Init init) const {
  Parameter parameter;
  parameter.name = prefix_ + name;
  parameter.layer = layer_;
  parameter.shape = std::move(shape);
  parameter.init = init;
  return parameter;
}

int LayerParameters::add(Parameter parameter) {
  parameters_.push_back(std::move(parameter));
  return static_cast<int>(parameters_.size()) - 1;
}

int LayerParameters::vector(const std::string& name, int64_t size, Init init) {
  return add(named(name, {size}, init));
}

Linear LayerParameters::linear(const std::string& name, int64_t out, int64_t in, bool bias,
                               float deviation) {
  Parameter weight = named(name + ".weight", {out, in}, Init::normal);
  weight.decay = true;
  weight.init_deviation = deviation;
  weight.transposed_in_files = true;
  Linear result;
  result.weight = add(std::move(weight));
  if (bias) result.bias = vector(name + ".bias", out, Init::zeros);
  return result;
}

Linear LayerParameters::output_layer(const std::string& name, int64_t out, int64_t padded_out,
                                     int64_t in) {
  Parameter weight = named(name + ".weight", {out, in}, Init::normal);
  weight.padded_rows = padded_out;
  weight.decay = true;
  weight.init_deviation = 0.02f;
  Linear result;
  result.weight = add(std::move(weight));
  return result;
}

Norm LayerParameters::norm(const std::string& name, int64_t channels, bool bias, float epsilon) {
  Norm result{vector(name + ".weight", channels, Init::ones), -1, epsilon};
  if (bias) result.bias = vector(name + ".bias", channels, Init::zeros);
  return result;
}

Adapter LayerParameters::adapter(const std::string& name, int64_t out, int64_t in,
                                 const LoraConfig& config, std::vector<ColumnRange> parts,
                                 uint32_t site) {
  const int64_t rank = config.rank * std::ssize(parts);
  Adapter result;
  // He et al. 2015 with the slope sqrt(5) that PEFT and the book take: uniform within 1 / sqrt(in).
  Parameter a = named(name + ".lora_A", {rank, in}, Init::uniform);
  a.decay = true;
  a.init_deviation = 1 / std::sqrt(3.0f * static_cast<float>(in));
  a.adapter = true;
  result.a = add(std::move(a));
  Parameter b = named(name + ".lora_B", {rank, out}, Init::zeros);
  b.decay = true;
  b.adapter = true;
  b.transposed_in_files = true;
  b.free_columns = parts;
  result.b = add(std::move(b));
  result.dropout = config.dropout;
  result.site = site;
  result.parts = std::move(parts);
  return result;
}

}  // namespace llm
