// llm bench decode: how fast tokens come, and how far that is from what memory allows.
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/progress.h"
#include "base/rng.h"
#include "cli/bench_command.h"
#include "cli/device.h"
#include "cli/model_arguments.h"
#include "cli/op_timing.h"
#include "cli/output.h"
#include "infer/device_steps.h"
#include "weights/model_folder.h"

namespace llm {
namespace {

struct BenchDecodeArguments {
  std::string model = "gpt2", device = "auto", dtype;
  int64_t sequences = 0, prompt = 64, tokens = 0;
  bool sample = false, batch_invariant = false, json = false;
};

using Clock = std::chrono::steady_clock;

constexpr int kRounds = 8;  // of which the best counts

std::vector<TokenId> random_tokens(int64_t count, int64_t sequence, int64_t vocab) {
  const Random random(static_cast<uint64_t>(sequence), stream_id("bench decode"));
  std::vector<TokenId> tokens;
  for (int64_t i = 0; i < count; ++i) {
    tokens.push_back(
        static_cast<TokenId>(random.below(static_cast<uint64_t>(vocab), static_cast<uint64_t>(i))));
  }
  return tokens;
}

// Seconds per step of all sequences together.
double seconds_per_step(Gpt& model, const BenchDecodeArguments& arguments, int64_t sequences) {
  Decoder decoder(model, sequences, arguments.prompt + arguments.tokens, arguments.batch_invariant);
  std::vector<std::vector<TokenId>> prompts;
  std::vector<std::span<const TokenId>> histories;
  std::vector<uint64_t> streams;
  for (int64_t s = 0; s < sequences; ++s) {
    prompts.push_back(random_tokens(arguments.prompt, s, model.config().vocab_size));
    decoder.prefill(s, prompts.back());
    streams.push_back(Sampler::stream_of(static_cast<uint64_t>(s)));
  }
  histories.reserve(prompts.size());
  for (const auto& prompt : prompts) histories.emplace_back(prompt);
  SamplerOptions sampler;
  if (!arguments.sample) sampler.temperature = 0;
  DeviceSteps steps(decoder, sampler, 1, histories, streams, model.config().vocab_size);
  constexpr int64_t kWarmUp = 4;  // the first step chooses algorithms, the second is recorded
  const int64_t warm_up = std::min(kWarmUp, (arguments.tokens - 1) / 2);
  Clock::time_point start = Clock::now();
  steps.queue();
  for (int64_t step = 0; step < arguments.tokens; ++step) {
    if (step == warm_up) start = Clock::now();
    if (step + 1 < arguments.tokens) steps.queue();
    steps.take();
  }
  // The host computes a step when it is queued: the one behind the warm-up is not in this time.
  const int64_t steps_timed = arguments.tokens - warm_up - (model.backend().is_host() ? 1 : 0);
  return seconds_since(start) / static_cast<double>(steps_timed);
}

// Bytes of weights and of the cache that a step reads, halfway through.
double bytes_per_step(const Gpt& model, const BenchDecodeArguments& arguments, int64_t sequences) {
  const ModelConfig& config = model.config();
  const int64_t cached = arguments.prompt + arguments.tokens / 2;
  const int64_t elements = parameter_count_without_positions(config) +
                           sequences * 2 * config.layers * cached * config.channels;
  return static_cast<double>(elements * dtype_bytes(model.dtype()));
}

// Of the products of a forward pass over so many rows, without logits: floating point operations.
double product_flops(const ModelConfig& config, int64_t rows) {
  const int64_t C = config.channels;
  return 2.0 * static_cast<double>(rows * config.layers * (4 * C * C + 2 * C * config.hidden));
}

// One after the other as a forward pass does them: seconds.
double product_seconds(Backend& backend, const ModelConfig& config, DType dtype, int64_t rows) {
  const int64_t C = config.channels;
  double seconds = 0;
  for (const auto& [out, in] :
       {std::pair(3 * C, C), {C, C}, {config.hidden, C}, {C, config.hidden}}) {
    OpTensors tensors(backend, 1);
    const Tensor x = tensors.random("x", dtype, {rows, in});
    Weight weight;
    weight.data = tensors.random("weight", dtype, {out, in}, 0.02);
    const Tensor bias = tensors.random("bias", dtype, {out}),
                 y = tensors.output("y", dtype, {rows, out});
    const auto call = [&] { backend.linear_forward(y, x, weight, bias); };
    backend.set_tuning(true);
    call();
    backend.set_tuning(false);
    constexpr int kCalls = 5;
    double best = INFINITY;
    for (int round = 0; round < kRounds; ++round) {
      const auto begin = backend.record(Queue::compute);
      for (int i = 0; i < kCalls; ++i) call();
      const auto end = backend.record(Queue::compute);
      best = std::min(best, backend.seconds_between(*begin, *end) / kCalls);
    }
    seconds += best;
  }
  return seconds * static_cast<double>(config.layers);
}

// Seconds of reading B prompts of T tokens, without their logits.
double prefill_seconds(Gpt& model, int64_t B, int64_t T) {
  Backend& backend = model.backend();
  const ModelConfig& config = model.config();
  const int64_t rows = B * T, widest = 4 * config.channels + 2 * config.hidden;
  KvCache cache(backend, config, B, T, model.dtype());
  ActivationArena arena(backend, rows * (2 * widest + 8 * config.channels) * 4 + (1 << 20));
  const auto memory = backend.allocate(2 * rows * 4, "batch");
  ModelInput input;
  input.tokens = Tensor(memory->data(), DType::i32, {B, T});
  input.positions = Tensor(static_cast<int32_t*>(memory->data()) + rows, DType::i32, {B, T});
  std::vector<int32_t> positions(static_cast<size_t>(rows));
  for (size_t i = 0; i < positions.size(); ++i) {
    positions[i] = static_cast<int32_t>(static_cast<int64_t>(i) % T);
  }
  backend.copy_to_device(input.tokens, random_tokens(rows, 0, config.vocab_size).data());
  backend.copy_to_device(input.positions, positions.data());
  cache.set_lengths(std::vector<int32_t>(static_cast<size_t>(B), static_cast<int32_t>(T)));
  double best = INFINITY;
  for (int round = 0; round <= kRounds; ++round) {
    backend.set_tuning(round == 0);
    arena.reset();
    const auto begin = backend.record(Queue::compute);
    model.forward_inference(arena, input, &cache);
    const auto end = backend.record(Queue::compute);
    const double seconds = backend.seconds_between(*begin, *end);
    if (round > 0) best = std::min(best, seconds);
  }
  return best;
}

Json print_decode(Gpt& model, const BenchDecodeArguments& arguments, int64_t sequences,
                  const Ceilings& ceilings) {
  const double seconds = seconds_per_step(model, arguments, sequences);
  const double bound = bytes_per_step(model, arguments, sequences) / ceilings.bytes_per_second;
  const double rate = static_cast<double>(sequences) / seconds;
  fmt::print("decode, {:>3} sequence{}: {} tokens/s, {} a step, {:.0f} % of the bandwidth bound\n",
             sequences, sequences == 1 ? " " : "s", with_commas(std::llround(rate)),
             time_text(seconds), 100 * bound / seconds);
  return {{"sequences", sequences},
          {"tokens_per_second", rate},
          {"seconds_per_step", seconds},
          {"share_of_bandwidth_bound", bound / seconds}};
}

void bench_decode(BenchDecodeArguments arguments) {
  const std::unique_ptr<Backend> backend = make_backend(arguments.device, {});
  const bool host = backend->is_host();
  const std::string name = !arguments.dtype.empty() ? arguments.dtype : host ? "f32" : "bf16";
  const DType dtype = name == "bf16" ? DType::bf16 : DType::f32;
  const ModelConfig config = shape_named(arguments.model);
  require_language_model(config, arguments.model);
  if (arguments.tokens == 0) arguments.tokens = host ? 16 : 256;
  if (arguments.sequences == 0) arguments.sequences = host ? 4 : 64;
  const int64_t B = host ? 1 : 8, T = std::min<int64_t>(host ? 64 : 1024, config.context);
  if (arguments.prompt + arguments.tokens > config.context) {
    fail_usage("--tokens", fmt::format("{} behind a prompt of {}, the context is {}",
                                       arguments.tokens, arguments.prompt, config.context));
  }
  Gpt model(*backend, config, {.dtype = dtype});
  model.parameters().initialize(1);
  const Ceilings ceilings = measure_ceilings(*backend);
  fmt::print("{} {}: {} parameters, {}, {} tokens behind a prompt of {}; copy {:.2f} TB/s\n",
             backend->name(), arguments.model, with_commas(parameter_count(config)), name,
             arguments.tokens, arguments.prompt, ceilings.bytes_per_second / 1e12);
  Json result{{"device", backend->name()},
              {"model", arguments.model},
              {"dtype", name},
              {"copy_bytes_per_second", ceilings.bytes_per_second}};
  result["alone"] = print_decode(model, arguments, 1, ceilings);
  result["together"] = print_decode(model, arguments, arguments.sequences, ceilings);

  const double seconds = prefill_seconds(model, B, T);
  const double products = product_seconds(*backend, config, dtype, B * T);
  const double rate = static_cast<double>(B * T) / seconds;
  // What a large product would take for the multiplications.
  const double share = product_flops(config, B * T) / ceilings.flops(dtype) / seconds;
  fmt::print(
      "prefill, {} x {} tokens: {} tokens/s, {}, {:.0f} % of the rate of a large product; "
      "products alone take {:.0f} %\n",
      B, T, with_commas(std::llround(rate)), time_text(seconds), 100 * share,
      100 * products / seconds);
  result["prefill"] = {{"sequences", B},
                       {"length", T},
                       {"tokens_per_second", rate},
                       {"share_of_a_large_product", share},
                       {"share_of_products", products / seconds}};
  if (arguments.json) fmt::print("{}\n", to_line(result));
}

}  // namespace

void add_bench_decode_command(CLI::App& bench) {
  auto* command =
      bench.add_subcommand("decode", "tokens per second of generating and reading text");
  auto a = std::make_shared<BenchDecodeArguments>();
  command->add_option("--model", a->model,
                      "a preset, config.json or model folder, for its shape [gpt2]");
  add_device_option(*command, a->device);
  command->add_option("--dtype", a->dtype, "f32 or bf16 [bf16 on a GPU]")
      ->check(CLI::IsMember({"f32", "bf16"}));
  command->add_option("--sequences", a->sequences, "that run together [64; 4 on the CPU]")
      ->check(CLI::Range(1, 4096));
  command->add_option("--prompt", a->prompt, "tokens of a prompt [64]")
      ->check(CLI::Range(1, 65536));
  command->add_option("--tokens", a->tokens, "tokens to generate [256; 16 on the CPU]")
      ->check(CLI::Range(2, 65536));
  command->add_flag("--sample", a->sample, "draw as llm generate does, not the most likely token");
  command->add_flag("--batch-invariant", a->batch_invariant,
                    "as llm generate does with this option, to see what it costs");
  command->add_flag("--json", a->json, "the last line of stdout is the result as JSON");
  command->footer(
      "Random weights and prompts. The bandwidth bound is the time to read the weights and the\n"
      "cache once at the speed of a large copy; the rate of a large product is measured, too.\n\n"
      "Example:\n  llm bench decode --model gpt2-xl");
  command->callback([a] { bench_decode(*a); });
}

}  // namespace llm
