// llm finetune
#include <cmath>
#include <memory>

#include "base/error.h"
#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/device.h"
#include "cli/finetune_arguments.h"
#include "cli/finetune_report.h"
#include "cli/finetune_setup.h"
#include "train/finetune.h"
#include "train/run_setup.h"

namespace llm {
namespace {

void finetune(const FinetuneArguments& arguments) {
  if (!std::isfinite(arguments.timeout) || arguments.timeout <= 0) {
    fail_usage("--timeout", fmt::format("{} seconds", arguments.timeout));
  }
  const std::unique_ptr<Backend> backend = open_backend(arguments);
  const std::unique_ptr<Comm> comm = make_comm(*backend, arguments.device, arguments.timeout);
  const bool speaks = comm->rank() == 0;
  const FinetuneSetup setup = set_up_finetuning(arguments, command_line(), *backend, comm->ranks());
  const FinetuneJob& job = setup.job;
  const std::unique_ptr<Objective> objective = objective_of(job.finetune().task);
  const MemoryPlan plan = plan_memory(*backend, *objective, job.run.options, workload_of(job));
  if (arguments.dry_run) {
    if (speaks) print_dry_run(setup, plan, *backend, comm->ranks(), arguments.json);
    return;
  }
  if (speaks) announce(setup, plan, *backend, *comm);
  try {
    const FinetuneOutcome outcome = run_finetuning(job, *backend, *comm);
    if (!speaks) return;
    write_file_atomically(job.folder / "report.json", to_pretty_text(report_json(setup, outcome)));
    print_outcome(setup, outcome, arguments.json);
  } catch (const PreemptedRun& run) {
    if (speaks && arguments.json) print_preempted(setup, run);
    throw;
  }
}

}  // namespace

void add_finetune_command(CLI::App& app) {
  auto* command =
      app.add_subcommand("finetune", "make a classifier or an assistant of a language model");
  auto arguments = std::make_shared<FinetuneArguments>();
  add_finetune_options(*command, *arguments);
  command->callback([arguments] { finetune(*arguments); });
}

}  // namespace llm
