// llm pretrain
#include <cmath>
#include <memory>

#include "base/error.h"
#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/device.h"
#include "cli/pretrain_arguments.h"
#include "cli/pretrain_report.h"
#include "cli/pretrain_setup.h"

namespace llm {
namespace {

void pretrain(const PretrainArguments& arguments) {
  if (!std::isfinite(arguments.timeout) || arguments.timeout <= 0) {
    fail_usage("--timeout", fmt::format("{} seconds", arguments.timeout));
  }
  const std::unique_ptr<Backend> backend = open_backend(arguments);
  const std::unique_ptr<Comm> comm = make_comm(*backend, arguments.device, arguments.timeout);
  const bool speaks = comm->rank() == 0;
  PretrainSetup setup = set_up_pretraining(arguments, command_line(), *backend, comm->ranks());
  NextToken objective;
  const MemoryPlan plan = plan_memory(*backend, objective, setup.job.run.options);
  if (arguments.dry_run) {
    if (speaks) print_dry_run(setup, plan, *backend, comm->ranks(), arguments.json);
    return;
  }
  require_memory(plan, *backend, objective, setup.job.run.options);  // before all data is read
  if (speaks) verify_data(setup);
  if (speaks) announce(setup, plan, *backend, *comm);
  try {
    const TrainSummary summary = run_pretraining(setup.job, *backend, *comm);
    if (speaks) print_summary(setup, summary, plan, *backend, arguments.json);
  } catch (const PreemptedRun& run) {
    if (speaks && arguments.json) print_preempted(setup, run, plan, *backend);
    throw;
  }
}

}  // namespace

void add_pretrain_command(CLI::App& app) {
  auto* command = app.add_subcommand("pretrain", "train a model on a dataset, next token by token");
  auto arguments = std::make_shared<PretrainArguments>();
  add_pretrain_options(*command, *arguments);
  command->callback([arguments] { pretrain(*arguments); });
}

}  // namespace llm
