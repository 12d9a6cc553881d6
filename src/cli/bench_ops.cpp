// llm bench ops
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/plan_backend.h"
#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "cli/bench_command.h"
#include "cli/device.h"
#include "cli/op_cases.h"
#include "cli/op_timing.h"
#include "cli/output.h"

namespace llm {
namespace {

struct BenchOpsArguments {
  std::vector<std::string> ops;
  std::string device, attention = "auto";
  std::optional<std::string> dtype;
  std::optional<int64_t> rows, length;
  int64_t channels = 768, heads = 12, vocab = 50'257;
  bool json = false;
};

constexpr int64_t kMostRows = int64_t{1} << 22, kMostChannels = int64_t{1} << 17;

void require(const char* option, int64_t value, int64_t most) {
  if (value < 1 || value > most) {
    fail_usage(option, fmt::format("{}", value), fmt::format("1 to {}", with_commas(most)));
  }
}

DType dtype_of(const BenchOpsArguments& arguments, bool host) {
  if (!arguments.dtype) return host ? DType::f32 : DType::bf16;
  if (*arguments.dtype == "f32") return DType::f32;
  if (*arguments.dtype == "bf16") return DType::bf16;
  fail_usage("--dtype", fmt::format("\"{}\" is none of f32, bf16", *arguments.dtype));
}

// What can be said without a device.
void check_bench_arguments(const BenchOpsArguments& arguments) {
  select_ops(arguments.ops);
  dtype_of(arguments, true);
  require("--rows", arguments.rows.value_or(1), kMostRows);
  require("--length", arguments.length.value_or(1), kMostRows);
  require("--channels", arguments.channels, kMostChannels);
  require("--heads", arguments.heads, kMostChannels);
  require("--vocab-size", arguments.vocab, kMostRows);
  if (arguments.channels % arguments.heads != 0) {
    fail_usage("--heads", fmt::format("{} does not divide the {} channels", arguments.heads,
                                      arguments.channels));
  }
}

OpSizes sizes_of(const BenchOpsArguments& arguments, bool host) {
  OpSizes sizes{arguments.rows.value_or(host ? 1024 : 65'536), arguments.channels, arguments.heads,
                arguments.length.value_or(1024), arguments.vocab};
  if (!arguments.length) sizes.length = std::min(sizes.length, sizes.rows);
  if (sizes.rows % sizes.length != 0) {
    fail_usage("--length",
               fmt::format("{} tokens do not divide the {} rows", sizes.length, sizes.rows));
  }
  return sizes;
}

OpCases selected_benchmarks(const BenchOpsArguments& arguments, const OpSizes& sizes, DType dtype) {
  const std::vector<std::string> ops = select_ops(arguments.ops);
  OpCases selected = op_benchmarks(sizes, dtype);
  std::erase_if(selected, [&](const OpCase& each) {
    return std::find(ops.begin(), ops.end(), each.op) == ops.end();
  });
  return selected;
}

// Before any work starts: a call that does not fit would end it late.
void require_memory(const OpCases& calls, const Backend& backend) {
  for (const OpCase& each : calls) {
    MemoryByPurpose usage;
    const std::unique_ptr<Backend> plan = make_plan_backend(backend, usage);
    OpTensors tensors(*plan, 0);
    each.prepare(tensors)();
    int64_t bytes = 0;
    for (const auto& [purpose, size] : usage) bytes += size;
    if (bytes <= backend.memory_available()) continue;
    throw Error(ErrorKind::memory, fmt::format("{} of {}", each.op, each.shape),
                fmt::format("needs {}, {} are free", format_bytes(bytes),
                            format_bytes(backend.memory_available())),
                "fewer --rows need less");
  }
}

constexpr const char* kOpLine = "{:<30} {:<40} {:>9} {:>8} {:>8} {:>6}\n";

void print_timing(const OpCase& each, const OpTiming& timing, double share) {
  const std::string flops =
      each.flops > 0 ? fmt::format("{:.2f}", timing.flops_per_second() / 1e12) : "";
  print(fmt::format(fmt::runtime(kOpLine), each.op, each.shape, time_text(timing.seconds),
                    fmt::format("{:.1f}", timing.bytes_per_second() / 1e9), flops,
                    fmt::format("{:.0f}%", 100 * share)));
}

Json json_of(const OpCase& each, const OpTiming& timing, double share) {
  Json json;
  json["op"] = each.op;
  json["shape"] = each.shape;
  json["dtype"] = dtype_name(each.dtype);
  json["microseconds"] = timing.seconds * 1e6;
  json["bytes_per_second"] = timing.bytes_per_second();
  json["flops_per_second"] = timing.flops_per_second();
  json["roofline_share"] = share;
  return json;
}

void run(const BenchOpsArguments& arguments) {
  check_bench_arguments(arguments);
  DeviceOptions options;
  options.attention = arguments.attention;
  const std::unique_ptr<Backend> backend = make_backend(arguments.device, options);
  const OpSizes sizes = sizes_of(arguments, backend->is_host());
  const DType dtype = dtype_of(arguments, backend->is_host());

  const OpCases calls = selected_benchmarks(arguments, sizes, dtype);
  require_memory(calls, *backend);

  const Ceilings ceilings = measure_ceilings(*backend);
  print(fmt::format("{}, {}: copy {:.1f} GB/s, linear {:.2f} TFLOP/s\n", backend->name(),
                    dtype_name(dtype), ceilings.bytes_per_second / 1e9,
                    ceilings.flops(dtype) / 1e12));
  print(fmt::format(fmt::runtime(kOpLine), "op", "shape", "time", "GB/s", "TFLOP/s", "share"));
  Json results = Json::array();
  for (const OpCase& each : calls) {
    const OpTiming timing = time_op(each, *backend, 0.3);
    const double share = roofline_share(timing, ceilings, each.dtype);
    print_timing(each, timing, share);
    results.push_back(json_of(each, timing, share));
  }
  if (!arguments.json) return;
  Json json;
  json["device"] = backend->name();
  json["dtype"] = dtype_name(dtype);
  json["copy_bytes_per_second"] = ceilings.bytes_per_second;
  json["linear_flops_per_second"] = ceilings.flops(dtype);
  json["ops"] = results;
  print_json(json);
}

}  // namespace

void add_bench_ops_command(CLI::App& bench) {
  auto* command = bench.add_subcommand(
      "ops",
      "time every op at the sizes of a model, beside what a copy and a matrix product reach");
  auto arguments = std::make_shared<BenchOpsArguments>();
  command->add_option("OP", arguments->ops,
                      "only these, by name or by how it begins: attention [all]");
  add_device_option(*command, arguments->device);
  command->add_option("--dtype", arguments->dtype, "f32 or bf16 [bf16 on a GPU, f32 on the CPU]");
  command->add_option("--rows", arguments->rows, "tokens of a batch [65536 on a GPU, 1024]");
  command->add_option("--length", arguments->length, "tokens of a sequence [1024]");
  command->add_option("--channels", arguments->channels, "width of the model");
  command->add_option("--heads", arguments->heads, "attention heads");
  command->add_option("--vocab-size", arguments->vocab, "tokens in the vocabulary");
  command->add_option("--attention", arguments->attention,
                      "GPU: own kernels, cudnn, or auto: the faster ones [auto]");
  command->add_flag("--json", arguments->json, "the last line of stdout is the result as JSON");
  command->footer("Example: llm bench ops attention linear --rows 16384");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace llm
