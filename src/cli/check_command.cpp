// llm check
#include "cli/check_command.h"

#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "cli/commands.h"
#include "cli/device.h"
#include "cli/op_check.h"
#include "cli/op_timing.h"
#include "cli/output.h"

namespace llm {
namespace {

// What a call of an op at a larger size took.
struct TimedOp {
  OpCase call;
  OpTiming timing;
  double share;
};

constexpr const char* kCheckLine = "{:<30} {:<5} {:>5} {:>8} {:>8} {:>9} {:>8}  {:<6}  {}\n";

std::string outcome_text(const OpOutcome& outcome) {
  return outcome.passed() ? "ok" : "FAILED: " + outcome.problem;
}

std::string error_text(double error) { return error == 0 ? "0" : fmt::format("{:.1e}", error); }
std::string bound_text(const OpBounds& bounds) {
  return bounds.mean_square == 0 ? "exact" : fmt::format("{:.0e}", bounds.mean_square);
}

void print_case(const OpCase& each, const OpOutcome& outcome) {
  print(fmt::format("{:<30} {:<5} {:>8} {:>8}  row {:>8}  element {:>5.2f}  {:>2} times  {}  {}\n",
                    each.op, dtype_name(each.dtype), error_text(outcome.errors.mean_square),
                    bound_text(outcome.bounds), error_text(outcome.errors.worst_row),
                    outcome.errors.worst_element, outcome.repeats, each.shape,
                    outcome_text(outcome)));
}

// Times an op once per type, at sizes that keep the device busy.
class Timer {
 public:
  explicit Timer(Backend& backend) : backend_(backend), ceilings_(measure_ceilings(backend)) {
    if (backend.is_host()) sizes_.rows = sizes_.length = 256;
    for (const DType dtype : {DType::f32, DType::bf16}) {
      for (OpCase& call : op_benchmarks(sizes_, dtype)) calls_.push_back(std::move(call));
    }
  }
  std::string text() const {
    return fmt::format(
        "copy {:.1f} GB/s, linear f32 {:.2f} TFLOP/s, bf16 {:.2f} TFLOP/s; times of {} tokens in "
        "sequences of {}, {} channels, {} heads",
        ceilings_.bytes_per_second / 1e9, ceilings_.f32_flops / 1e12, ceilings_.bf16_flops / 1e12,
        sizes_.rows, sizes_.length, sizes_.channels, sizes_.heads);
  }
  const Ceilings& ceilings() const { return ceilings_; }

  std::optional<TimedOp> time(const OpSummary& summary) const {
    for (const OpCase& call : calls_) {
      if (call.op != summary.op || call.dtype != summary.dtype) continue;
      const OpTiming timing = time_op(call, backend_, 0.05);
      return TimedOp{call, timing, roofline_share(timing, ceilings_, call.dtype)};
    }
    return std::nullopt;
  }

 private:
  Backend& backend_;
  Ceilings ceilings_;
  OpSizes sizes_{16'384, 768, 12, 1024, 50'257};
  OpCases calls_;
};

void print_head() {
  print(fmt::format(fmt::runtime(kCheckLine), "op", "dtype", "cases", "error", "bound", "time",
                    "roofline", "", "worst shape"));
}

void print_summary(const OpSummary& summary, const std::optional<TimedOp>& timed) {
  const OpOutcome& outcome = summary.outcome;
  std::string text =
      fmt::format(fmt::runtime(kCheckLine), summary.op, dtype_name(summary.dtype), summary.cases,
                  error_text(outcome.errors.mean_square), bound_text(outcome.bounds),
                  timed ? time_text(timed->timing.seconds) : "",
                  timed ? fmt::format("{:.0f}%", 100 * timed->share) : "",
                  summary.failed == 0 ? "ok" : "FAILED", summary.shape);
  if (summary.failed > 0) {
    text += fmt::format("    {} of {} cases; {}\n", summary.failed, summary.cases, outcome.problem);
  }
  print(text);
}

// Infinity has no place in JSON.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json json_of(const OpSummary& summary, const std::optional<TimedOp>& timed) {
  Json json;
  json["op"] = summary.op;
  json["dtype"] = dtype_name(summary.dtype);
  json["passed"] = summary.failed == 0;
  json["cases"] = summary.cases;
  json["failed"] = summary.failed;
  json["error"] = number(summary.outcome.errors.mean_square);
  json["bound"] = summary.outcome.bounds.mean_square;
  json["worst_row"] = number(summary.outcome.errors.worst_row);
  json["worst_element"] = number(summary.outcome.errors.worst_element);
  json["worst_shape"] = summary.shape;
  if (summary.failed > 0) json["problem"] = summary.outcome.problem;
  if (timed) {
    json["timed_shape"] = timed->call.shape;
    json["microseconds"] = timed->timing.seconds * 1e6;
    json["roofline_share"] = timed->share;
  }
  return json;
}

uint64_t fresh_seed() { return std::random_device()(); }

class Check {
 public:
  Check(Backend& backend, const CheckArguments& arguments)
      : backend_(backend), arguments_(arguments) {
    options_.seed = arguments.seed ? static_cast<uint64_t>(*arguments.seed) : fresh_seed();
    options_.large = !arguments.quick;
    options_.repeats = arguments.repeats;
    options_.seen = [this](const OpCase& each, const OpOutcome& outcome) {
      ++cases_;
      if (arguments_.verbose) print_case(each, outcome);
    };
  }

  void run() {
    const std::vector<std::string> ops = select_ops(arguments_.ops);
    print(fmt::format("{} against the plain CPU loops, seed {}\n", backend_.name(), options_.seed));
    if (!arguments_.quick) {
      timer_.emplace(backend_);
      print(fmt::format("roofline: {}\n", timer_->text()));
    }
    if (!arguments_.verbose) print_head();
    ops_ = std::ssize(ops);
    for (const std::string& op : ops) run_op(op);
    report();
    require_passed(summaries_, backend_.name(), options_.seed);
  }

 private:
  void run_op(const std::string& op) {
    options_.ops = {op};
    const std::vector<OpSummary> summaries = check_ops(backend_, options_);
    if (arguments_.verbose) print_head();
    for (const OpSummary& summary : summaries) {
      const std::optional<TimedOp> timed = timer_ ? timer_->time(summary) : std::nullopt;
      print_summary(summary, timed);
      results_.push_back(json_of(summary, timed));
      summaries_.push_back(summary);
    }
  }

  void report() const {
    int64_t failed = 0;
    for (const OpSummary& summary : summaries_) failed += summary.failed;
    print(fmt::format("{} of {}: {}\n", counted(cases_, "case"), counted(ops_, "op"),
                      failed == 0 ? "all within their bounds, every call repeatable"
                                  : fmt::format("{} failed", with_commas(failed))));
    if (!arguments_.json) return;
    Json json;
    json["device"] = backend_.name();
    json["seed"] = options_.seed;
    json["cases"] = cases_;
    json["failed"] = failed;
    if (timer_) {
      json["copy_bytes_per_second"] = timer_->ceilings().bytes_per_second;
      json["f32_flops_per_second"] = timer_->ceilings().f32_flops;
      json["bf16_flops_per_second"] = timer_->ceilings().bf16_flops;
    }
    json["ops"] = results_;
    print_json(json);
  }

  Backend& backend_;
  const CheckArguments& arguments_;
  OpCheckOptions options_;
  std::optional<Timer> timer_;
  int64_t ops_ = 0, cases_ = 0;
  std::vector<OpSummary> summaries_;
  Json results_ = Json::array();
};

}  // namespace

void run_check(Backend& backend, const CheckArguments& arguments) {
  Check(backend, arguments).run();
}

void add_check_command(CLI::App& app) {
  auto* command = app.add_subcommand(
      "check", "compare every op of a device with the CPU reference, and time it");
  auto arguments = std::make_shared<CheckArguments>();
  command->add_option("OP", arguments->ops,
                      "only these, by name or by how it begins: attention [all]");
  add_device_option(*command, arguments->device);
  command->add_option("--seed", arguments->seed, "of the inputs [another one each time]")
      ->check(seed_range())
      ->type_name("N");
  command->add_option("--attention", arguments->attention,
                      "GPU: own kernels, cudnn, or auto: the faster ones [auto]");
  command->add_flag("--quick", arguments->quick, "small shapes only, and no times");
  command->add_option("--repeats", arguments->repeats, "calls of each case [20; 3 at large shapes]")
      ->check(CLI::Range(1, 1000))
      ->type_name("N");
  command->add_flag("--verbose", arguments->verbose, "a line for every case");
  command->add_flag("--json", arguments->json, "the last line of stdout is the result as JSON");
  command->footer("Example: llm check attention layernorm --device cuda");
  command->callback([arguments] {
    select_ops(arguments->ops);  // refuses unknown names before a device is looked for
    DeviceOptions options;
    options.attention = arguments->attention;
    run_check(*make_backend(arguments->device, options), *arguments);
  });
}

}  // namespace llm
