#include "train/trainer.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/log.h"
#include "train/checkpoint.h"
#include "train/signals.h"

namespace llm {
namespace {

double seconds_between(std::chrono::steady_clock::time_point a,
                       std::chrono::steady_clock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}

// call(); an error of the device that leaves it is told with the step.
template <typename Call>
void at_step(int64_t step, const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::device) throw;
    throw Error(error.kind(), fmt::format("step {}: {}", step, error.where()), error.problem(),
                error.hint());
  }
}

std::string short_duration(double seconds) {
  return seconds < 60 ? fmt::format("{:.1f} s", seconds) : format_duration(seconds);
}

}  // namespace

Trainer::Trainer(const TrainerParts& parts, const TrainState& state, bool resumed)
    : parts_(parts),
      options_(parts.options),
      schedule_(options_.schedule_of_run()),
      state_(state),
      resumed_(resumed),
      log_(parts.folder.log_path()),
      progress_(parts.workspace.comm.rank() == 0) {}

double Trainer::elapsed() const { return seconds_between(began_, Clock::now()); }

PreemptedRun::PreemptedRun(const std::string& folder, const std::string& stopped_by,
                           TrainSummary summary)
    : Error(ErrorKind::preempted, folder,
            fmt::format("stopped by {} after step {}, which is saved", stopped_by, summary.steps),
            "run the same command with --resume to continue"),
      stopped_by_(stopped_by),
      summary_(summary) {}

TrainSummary Trainer::run() {
  Comm& comm = parts_.workspace.comm;
  began_ = Clock::now();
  if (resumed_) {
    saved_step_ = state_.step;
    if (writes()) log_.append(Json{{"type", "save"}, {"step", state_.step}, {"seconds", 0.0}});
  }
  parts_.data.begin(state_.samples);
  if (!resumed_) {
    comm.set_step(0);
    if (options_.eval_every > 0) evaluate_now();
    save_now(/*must_succeed=*/true);
  }
  if (state_.step < options_.steps && stop_requested()) leave(StopSignals::name());
  train();
  if (writes()) log_.sync();
  progress_.finish();
  return summary();
}

TrainSummary Trainer::summary() const {
  TrainSummary summary;
  summary.steps = state_.step;
  summary.tokens = state_.tokens;
  summary.train_loss = state_.window.recent_mean(kTrainLossSteps);
  summary.val_loss = state_.val_loss;
  summary.best_val_loss = state_.best_val_loss;
  summary.best_step = state_.best_step;
  summary.skipped = state_.skipped;
  summary.tokens_per_second =
      step_seconds_ > 0 ? static_cast<double>(step_tokens_) / step_seconds_ : 0;
  summary.seconds = elapsed();
  return summary;
}

void Trainer::train() {
  last_done_ = Clock::now();
  while (state_.step < options_.steps) {
    const int64_t step = state_.step + 1;
    parts_.workspace.comm.set_step(step);
    const Pending before = pending_;
    at_step(step, [&] {
      enqueue(step);
      if (before.step >= 0) settle(before);
    });

    const bool stop = stop_requested();
    const bool last = step == options_.steps;
    const bool rest = stop || last || due(options_.eval_every, step, last) ||
                      due(options_.sample_every, step, last) ||
                      due(options_.save_every, step, last);
    if (!rest) continue;
    const Pending rest_of_it = pending_;
    pending_ = {};
    at_step(step, [&] { settle(rest_of_it); });
    pause(step, last, stop ? StopSignals::name() : nullptr);
    last_done_ = Clock::now();
  }
}

void Trainer::enqueue(int64_t step) {
  const StepBatches batches = parts_.data.next();
  StepRequest request;
  request.step = step;
  request.learning_rate = learning_rate(schedule_, step);
  request.loss_limit = options_.on_spike == SpikeAction::ignore
                           ? std::numeric_limits<float>::infinity()
                           : state_.window.limit_for(step);
  request.max_norm = static_cast<float>(options_.grad_clip);
  request.adamw = {static_cast<float>(options_.beta1), static_cast<float>(options_.beta2),
                   static_cast<float>(options_.epsilon)};
  request.dropout_seed = static_cast<uint64_t>(options_.seed);
  parts_.workspace.step.enqueue(request, batches.micro_batches);
  state_.step = step;
  state_.samples += options_.samples_per_step();
  state_.tokens += batches.tokens;
  pending_ = {step, request.loss_limit, batches.tokens, state_.tokens, Clock::now()};
}

void Trainer::settle(const Pending& pending) {
  const int64_t step = pending.step;
  const StepResult result = parts_.workspace.step.read(step);
  // On the host a step is done when queueing it returns, elsewhere when its result can be read.
  const Clock::time_point done = parts_.workspace.backend.is_host() ? pending.queued : Clock::now();
  const double seconds = seconds_between(last_done_, done);
  last_done_ = done;
  step_seconds_ += seconds;
  step_tokens_ += pending.tokens;
  const double rate = static_cast<double>(pending.tokens) / std::max(seconds, 1e-9);
  smoothed_rate_ = smoothed_rate_ == 0 ? rate : 0.9 * smoothed_rate_ + 0.1 * rate;

  const bool finite = std::isfinite(result.loss) && std::isfinite(result.norm);
  if (finite) {
    state_.window.add(step, result.loss);
    state_.bad_in_a_row = 0;
  }
  if (writes()) {
    Json record{{"type", "step"},           {"step", step},
                {"loss", result.loss},      {"lr", learning_rate(schedule_, step)},
                {"norm", result.norm},      {"applied", result.applied},
                {"tokens", pending.so_far}, {"tokens_per_second", std::round(rate)},
                {"seconds", seconds}};
    if (parts_.peak_rate > 0) record["mfu"] = rate / parts_.peak_rate;
    log_.append(record);
    show_step(pending, result);
  }
  if (!result.applied) note_bad_step(pending, result, finite);
}

void Trainer::note_bad_step(const Pending& pending, const StepResult& result, bool finite) {
  const int64_t step = pending.step;
  ++state_.skipped;
  if (!finite) ++state_.bad_in_a_row;
  const int64_t first = (step - 1) * options_.samples_per_step();
  const int64_t last = first + options_.samples_per_step() - 1;
  if (writes()) {
    Json record{{"type", "skipped"},
                {"step", step},
                {"reason", finite ? "spike" : "not finite"},
                {"loss", result.loss},
                {"norm", result.norm}};
    if (finite) record["limit"] = pending.limit;
    record["first_sample"] = first;
    record["last_sample"] = last;
    log_.append(record);
    log_warning(fmt::format("step {} changed nothing: loss {:.4f}, norm {:.4f}{}; samples {} to {}",
                            step, result.loss, result.norm,
                            finite ? fmt::format(", above the limit of {:.4f}", pending.limit) : "",
                            first, last));
  }
  if (finite && options_.on_spike == SpikeAction::stop) {
    throw Error(ErrorKind::numerics, fmt::format("step {}", step),
                fmt::format("the loss rose to {:.4f}, above the limit of {:.4f}", result.loss,
                            pending.limit),
                "look at the samples named in log.jsonl; --resume continues from the last "
                "checkpoint");
  }
  if (state_.bad_in_a_row >= kMostBadInARow) {
    throw Error(
        ErrorKind::numerics, fmt::format("step {}", step),
        fmt::format("loss or gradient was NaN or infinite {} times in a row", state_.bad_in_a_row),
        "use a smaller --lr or a longer --warmup; the checkpoints are good");
  }
}

bool Trainer::due(int64_t every, int64_t step, bool last) const {
  return last || (every > 0 && step % every == 0);
}

void Trainer::pause(int64_t step, bool last, const char* stopped_by) {
  if (due(options_.eval_every, step, last)) evaluate_now();
  if (options_.sample_every > 0 && due(options_.sample_every, step, last)) sample_now();
  const bool best = options_.keep_best && state_.best_step == step;
  if (stopped_by != nullptr || best || due(options_.save_every, step, last)) {
    save_now(/*must_succeed=*/last || stopped_by != nullptr);
  }
  if (stopped_by != nullptr && !last) leave(stopped_by);
}

void Trainer::leave(const char* stopped_by) {
  if (writes()) log_.sync();
  progress_.finish();
  throw PreemptedRun(parts_.folder.path().string(),
                     *stopped_by == 0 ? "another process" : stopped_by, summary());
}

bool Trainer::stop_requested() {
  Comm& comm = parts_.workspace.comm;
  const int64_t stop = StopSignals::requested() ? 1 : 0;
  return (comm.alone() ? stop : comm.all_reduce(stop, Reduce::max)) != 0;
}

void Trainer::evaluate_now() {
  if (parts_.validation.empty()) return;
  const Clock::time_point start = Clock::now();
  double sum = 0, weights = 0, right = 0;
  int64_t targets = 0;
  const char* unit = "tokens";
  Json losses = Json::object();
  for (const ValidationPart& part : parts_.validation) {
    const EvaluationResult result = part.evaluate(parts_.workspace);
    sum += part.weight * result.loss;
    weights += part.weight;
    targets += result.targets;
    losses[part.name] = result.loss;
    unit = result.unit();
    right += std::max(result.accuracy, 0.0) * static_cast<double>(result.targets);
  }
  state_.val_loss = sum / weights;
  const bool best = state_.val_loss < state_.best_val_loss;
  if (best) {
    state_.best_val_loss = state_.val_loss;
    state_.best_step = state_.step;
  }
  if (!writes()) return;
  const double seconds = seconds_between(start, Clock::now());
  Json record{{"type", "eval"},     {"step", state_.step}, {"val_loss", state_.val_loss},
              {"targets", targets}, {"best", best},        {"seconds", seconds}};
  if (parts_.validation.size() > 1) record["parts"] = losses;
  if (const Json mixture = parts_.data.mixture(state_.samples); !mixture.is_null()) {
    record["mixture"] = mixture;
  }
  const bool classifies = parts_.workspace.model.config().is_classifier();
  const double accuracy = right / static_cast<double>(std::max<int64_t>(targets, 1));
  if (classifies) record["val_accuracy"] = accuracy;
  log_.append(record);
  progress_.show(fmt::format("step {:>5}/{} | val loss {:.4f}{}{} | {} {} | {}", state_.step,
                             options_.steps, state_.val_loss, best ? " (best)" : "",
                             classifies ? fmt::format(" | accuracy {:.2f} %", 100 * accuracy) : "",
                             with_commas(targets), unit, short_duration(seconds)),
                 /*keep=*/true);
}

void Trainer::sample_now() {
  if (!parts_.sample || !writes()) return;
  for (const auto& [prompt, text] : parts_.sample(state_.step)) {
    log_.append(
        Json{{"type", "sample"}, {"step", state_.step}, {"prompt", prompt}, {"text", text}});
    log_info(fmt::format("--- sample at step {}\n{}{}\n---", state_.step, prompt, text));
  }
}

void Trainer::save_and_log() {
  const Clock::time_point start = Clock::now();
  state_.updates = parts_.workspace.step.updates();
  state_.seed = options_.seed;
  log_.sync();  // a checkpoint never knows more than the log
  const fs::path directory = parts_.folder.checkpoints();
  save_checkpoint(directory, parts_.workspace.model, parts_.form, state_);
  saved_step_ = state_.step;
  log_.append(Json{
      {"type", "save"}, {"step", state_.step}, {"seconds", seconds_between(start, Clock::now())}});
  std::set<int64_t> also_keep;
  if (options_.keep_best && state_.best_step >= 0) also_keep.insert(state_.best_step);
  try {
    prune_checkpoints(directory, options_.keep, also_keep);
  } catch (const Error& error) {  // the new one is safe; the next save tries again
    log_warning(fmt::format("old checkpoints not removed: {}", error.what()));
  }
}

void Trainer::save_now(bool must_succeed) {
  if (saved_step_ == state_.step) return;
  if (writes()) {
    try {
      save_and_log();
    } catch (const Error& error) {
      if (must_succeed || error.kind() != ErrorKind::disk) throw;
      log_.append(
          Json{{"type", "save"}, {"step", state_.step}, {"seconds", 0.0}, {"error", error.what()}});
      log_warning(fmt::format("checkpoint of step {} not saved: {}; training goes on", state_.step,
                              error.what()));
    }
  }
  // The others wait, so that none of them reports success for a run that was not saved.
  if (must_succeed) parts_.workspace.comm.barrier();
}

void Trainer::show_step(const Pending& pending, const StepResult& result) {
  const int64_t step = pending.step;
  const double tokens = static_cast<double>(pending.so_far) / static_cast<double>(step);
  const double left =
      static_cast<double>(options_.steps - step) * tokens / std::max(smoothed_rate_, 1e-9);
  const std::string mfu =
      parts_.peak_rate > 0 ? fmt::format(" | {:.1f}% MFU", 100 * smoothed_rate_ / parts_.peak_rate)
                           : "";
  progress_.show(
      fmt::format(
          "step {:>5}/{} | loss {:.4f} | lr {:.2e} | norm {:.2f} | {} tok/s{} | {} | {} left", step,
          options_.steps, result.loss, learning_rate(schedule_, step), result.norm,
          with_commas(static_cast<long long>(smoothed_rate_)), mfu, short_duration(elapsed()),
          format_duration(left)),
      /*keep=*/step == options_.steps);
}

}  // namespace llm
