#include "cli/finetune_arguments.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace llm {
namespace {

void add_data_options(CLI::App& command, FinetuneArguments& a) {
  const std::string group = "Data";
  command
      .add_option("--train", a.train,
                  "classify: a table, CSV or TSV, with a column of labels and one of texts; "
                  "instruct: a JSON list or JSONL of instruction, input, output or of messages")
      ->group(group)
      ->type_name("FILE");
  command.add_option("--val", a.validation, "what is evaluated while training")
      ->group(group)
      ->type_name("FILE");
  command.add_option("--test", a.test, "what is evaluated at the end")
      ->group(group)
      ->type_name("FILE");
  command
      .add_option("--split", a.split,
                  "without --val and --test, shares of the rows for training, validation and test, "
                  "or numbers of rows (935,55,110) [0.7,0.1,0.2; instruct: 0.85,0.05,0.1]")
      ->group(group);
  command
      .add_option("--split-order", a.split_order,
                  "`shuffled` by the seed, or `file`: the first rows train, the next ones test, "
                  "the last ones validate [shuffled]")
      ->group(group);
  command
      .add_flag("--balance", a.balance,
                "before splitting, leave out rows until every label has as many as the rarest one")
      ->group(group);
  command
      .add_option(
          "--quoting", a.quoting,
          "`csv`: fields may be in quotes, `none`: they are not [csv where commas separate, "
          "none where tabs do]")
      ->group(group);
  command
      .add_option("--label-column", a.label_column,
                  "its name in the first row, or its number from 1 [found by usual names, else 1]")
      ->group(group);
  command.add_option("--text-column", a.text_column, "the same [found by usual names, else 2]")
      ->group(group);
  command
      .add_option("--max-length", a.max_length,
                  "tokens of an example that are kept [all; longer than the context is an error]")
      ->group(group);
  command.add_flag("--skip-bad-rows", a.skip_bad_rows, "leave them out and count them")
      ->group(group);
}

void add_model_options(CLI::App& command, FinetuneArguments& a) {
  const std::string group = "Model";
  command
      .add_option("--trainable", a.trained,
                  "`head`: the output layer, `last-block`: with the last block and the final norm, "
                  "`all`, or `lora`: adapters beside frozen weights [all]")
      ->group(group);
  command
      .add_option("--init", a.init,
                  "`random`: the shape and tokenizer of MODEL, but not its weights, to compare")
      ->group(group);
  command.add_option("--dropout", a.dropout, "share of activations dropped while training [0]")
      ->group(group);
  command
      .add_option(
          "--pool", a.pool,
          "classify: what the output layer reads, the hidden state of the `last-token` of "
          "the text, of the `last` position of the padded row, or the `mean` over the text; "
          "transformers knows the first one only [that of MODEL, or last-token]")
      ->group(group);
  command
      .add_option(
          "--class-weights", a.class_weights,
          "classify: how much a text counts in the loss, by label: ham=1,spam=4, numbers in "
          "the order of the labels, or `balanced`: one over the label's share [1]")
      ->group(group);
}

void add_instruct_options(CLI::App& command, FinetuneArguments& a) {
  const std::string group = "Instructions";
  command.add_option("--template", a.format, "book, alpaca, chatml or plain [alpaca]")
      ->group(group);
  command.add_flag("--mask-prompt", a.mask_prompt, "learn the answers only, not what is asked")
      ->group(group);
  command
      .add_flag("--pack", a.pack,
                "several examples in a row of --max-length tokens [the context]; they do not see "
                "each other")
      ->group(group);
  command
      .add_option("--answers", a.answers,
                  "held-out instructions that are answered while training [2]")
      ->group(group);
  command.add_option("--answer-tokens", a.answer_tokens, "tokens of an answer at most [128]")
      ->group(group);
  command
      .add_option("--responses", a.responses,
                  "where the answers to the test part are written as JSON [RUN/responses.json]")
      ->group(group)
      ->type_name("FILE");
}

void add_lora_options(CLI::App& command, FinetuneArguments& a) {
  const std::string group = "LoRA (--trainable lora)";
  command.add_option("--lora-rank", a.lora_rank, "of the adapters [16]")->group(group);
  command
      .add_option("--lora-alpha", a.lora_alpha,
                  "what they add is scaled by alpha / rank [the rank]")
      ->group(group);
  command.add_option("--lora-dropout", a.lora_dropout, "of what they read [0]")->group(group);
  command
      .add_option("--lora-targets", a.lora_targets,
                  "which layers have one: some of qkv (or q, k, v, each its own), projection, up, "
                  "down, score, or all; a classifier's score is trained whole unless it has one "
                  "[q,k,v,projection,up,down]")
      ->group(group);
  command.add_flag("--merge", a.merge, "also write a whole model, adapters added, to RUN/merged")
      ->group(group);
}

void add_step_options(CLI::App& command, FinetuneArguments& a) {
  const std::string group = "Steps";
  command.add_option("--batch", a.batch, "rows per micro-batch and process [8]")->group(group);
  command
      .add_option("--total-batch", a.total_batch,
                  "rows per step over all micro-batches and processes [batch x processes]")
      ->group(group);
  auto* steps = command.add_option("--steps", a.steps, "optimizer steps")->group(group);
  command.add_option("--epochs", a.epochs, "passes over the training rows [5; instruct: 2]")
      ->group(group)
      ->excludes(steps);
}

void add_optimizer_options(CLI::App& command, FinetuneArguments& a) {
  const std::string group = "Optimizer (AdamW)";
  command
      .add_option("--lr", a.lr,
                  "peak learning rate [5e-5; lora: 3e-4; head: 1e-3; for a model of fewer than 768 "
                  "channels times 768 / channels]")
      ->group(group);
  add_schedule_options(command, a, group);
  command.add_option("--decay-share", a.decay_share, "wsd: share of the steps that decays [0.2]")
      ->group(group);
  command.add_option("--weight-decay", a.weight_decay, "on matrices only [0.1; lora: 0]")
      ->group(group);
  command.add_option("--beta1", a.beta1, "decay of the first moment [0.9]")->group(group);
  command.add_option("--beta2", a.beta2, "decay of the second moment [0.999]")->group(group);
  command.add_option("--grad-clip", a.grad_clip, "largest norm of the gradient, 0: any [1]")
      ->group(group);
  command
      .add_option("--seed", a.seed, "of the split, new weights, order of examples and dropout [42]")
      ->group(group);
}

void add_run_options(CLI::App& command, FinetuneArguments& a) {
  const std::string group = "Run";
  command.add_option("--eval-every", a.eval_every, "steps, 0: only at the end [an epoch]")
      ->group(group);
  command
      .add_option("--eval-batches", a.eval_batches,
                  "batches per evaluation, 0: the whole validation part [0]")
      ->group(group);
  command
      .add_option("--sample-every", a.sample_every,
                  "instruct: steps between answers, 0: none [an epoch]")
      ->group(group);
  command
      .add_option("--save-every", a.save_every,
                  "steps, 0: a checkpoint before the first and after the last step only [an epoch]")
      ->group(group);
  add_checkpoint_options(command, a, group);
  command.add_flag("--dry-run", a.dry_run, "print rows, parameters, memory and steps, and exit")
      ->group(group);
  add_device_options(command, a, group);
}

void apply_lora(FinetuneOptions& finetune, const FinetuneArguments& a) {
  if (finetune.trained != TrainedPart::lora) {
    const bool given = a.lora_rank || a.lora_alpha || a.lora_dropout || a.lora_targets;
    if (given || a.merge) {
      fail_usage(a.merge && !given ? "--merge" : "--lora-...", "there are no adapters",
                 "add --trainable lora");
    }
    return;
  }
  LoraConfig& lora = finetune.lora;
  if (!a.resume) {
    lora.rank = 16;
    set_lora_targets(lora, "q,k,v,projection,up,down", /*classifier=*/true);
  }
  take(lora.rank, a.lora_rank);
  if (!a.resume) lora.alpha = static_cast<float>(lora.rank);
  take(lora.alpha, a.lora_alpha);
  take(lora.dropout, a.lora_dropout);
  if (a.lora_targets) {
    set_lora_targets(lora, *a.lora_targets, finetune.task == FinetuneTask::classify);
  }
}

void refuse_options_of_the_other_task(FinetuneTask task, const FinetuneArguments& a) {
  const auto refuse = [&](bool given, const char* option) {
    if (!given) return;
    fail_usage(option, fmt::format("has no meaning for --task {}", finetune_task_name(task)));
  };
  if (task == FinetuneTask::classify) {
    refuse(a.format.has_value(), "--template");
    refuse(a.mask_prompt, "--mask-prompt");
    refuse(a.pack, "--pack");
    refuse(a.answers.has_value(), "--answers");
    refuse(a.answer_tokens.has_value(), "--answer-tokens");
    refuse(a.sample_every.has_value(), "--sample-every");
    refuse(a.responses.has_value(), "--responses");
    return;
  }
  refuse(a.balance, "--balance");
  refuse(!a.quoting.empty(), "--quoting");
  refuse(!a.label_column.empty(), "--label-column");
  refuse(!a.text_column.empty(), "--text-column");
  refuse(a.class_weights.has_value(), "--class-weights");
  refuse(a.pool.has_value(), "--pool");
}

}  // namespace

void add_finetune_options(CLI::App& command, FinetuneArguments& a) {
  command.add_option(
      "MODEL", a.model,
      "what to start from: a model folder, run folder, checkpoint folder or the name "
      "of a downloaded model; a classifier keeps its labels; not needed with --resume");
  command.add_option("--task", a.task, "`classify` or `instruct`")->type_name("TASK");
  command.add_option("-o,--out", a.output, "folder of the run")->required()->type_name("RUN");
  add_data_options(command, a);
  add_model_options(command, a);
  add_instruct_options(command, a);
  add_lora_options(command, a);
  add_step_options(command, a);
  add_optimizer_options(command, a);
  add_run_options(command, a);
  command.footer(
      "The run keeps its examples in RUN/data. On --resume, options that are not given keep their\n"
      "values. Only these may change: --steps or --epochs, --batch, --eval-every, --sample-every,\n"
      "--answers, --answer-tokens, --save-every, --keep, --recompute and the number of processes.\n"
      "Another number of processes or batch size gives the same losses to rounding error;\n"
      "everything else continues to the same bits.\n\n"
      "Exit codes: 2 usage, 3 bad input, 4 disk, 5 memory, 6 device or communication, 7 NaN,\n"
      "75 stopped by a signal after saving.\n\n"
      "Examples:\n"
      "  llm finetune gpt2 --task classify --train SMSSpamCollection --balance -o runs/spam\n"
      "  llm finetune gpt2 --task instruct --train instructions.json --trainable lora "
      "--mask-prompt "
      "\\\n      -o runs/assistant");
}

void apply_arguments(RunDescription& run, const FinetuneArguments& a) {
  FinetuneOptions& finetune = *run.finetune;
  TrainOptions& options = run.options;
  refuse_options_of_the_other_task(finetune.task, a);
  if (a.trained) finetune.trained = trained_part_named(*a.trained, "--trainable");
  take(finetune.max_length, a.max_length);
  if (a.max_length && *a.max_length < 1) {
    fail_usage("--max-length", fmt::format("{} tokens", *a.max_length), "must be at least 1");
  }
  if (a.skip_bad_rows) finetune.skip_bad_rows = true;
  if (a.format) finetune.format = chat_template_named(*a.format);
  if (a.mask_prompt) finetune.mask_prompt = true;
  if (a.pack) finetune.pack = true;
  take(finetune.answers, a.answers);
  take(finetune.answer_tokens, a.answer_tokens);
  apply_lora(finetune, a);

  if (a.pool) options.model.pooling = pooling_named(*a.pool, "--pool");
  if (a.dropout || !a.resume) options.model.set_dropout(static_cast<float>(a.dropout.value_or(0)));
  if (a.init) {
    if (*a.init != "random") {
      fail_usage("--init", fmt::format("\"{}\" is not random", *a.init),
                 "weights to start from are those of MODEL");
    }
    options.init = "random";
  }
  const bool adapters = finetune.trained == TrainedPart::lora;
  if (!a.resume) {
    options.lr = default_learning_rate(finetune.trained, options.model.channels);
    options.weight_decay = adapters ? 0 : 0.1;
    options.beta2 = 0.999;
    options.on_spike = SpikeAction::ignore;  // the loss of a few rows jumps as it likes
  }
  apply_training_arguments(options, a);
  if (a.min_lr || !a.resume) options.min_lr = a.min_lr.value_or(options.lr / 10);
}

double default_learning_rate(TrainedPart part, int64_t channels) {
  constexpr double kWidth = 768;
  const double narrow = std::max(1.0, kWidth / static_cast<double>(channels));
  switch (part) {
    case TrainedPart::head:
      return 1e-3 * narrow;
    case TrainedPart::lora:
      return 3e-4 * narrow;
    case TrainedPart::last_block:
    case TrainedPart::all:
      break;
  }
  return 5e-5 * narrow;
}

}  // namespace llm
