#!/usr/bin/env bash
# From nothing to a small language model of one's own, in a few minutes on a laptop: makes a corpus
# of short stories, trains a tokenizer and a GPT on it, lets it write, and makes a spam classifier and
# an assistant out of it. Everything lands in demo/, which each call makes anew.
#   scripts/demo.sh               LLM_DEMO_SECONDS=600 trains for longer (default: 210)
set -euo pipefail
cd "$(dirname "$0")/.."

budget=${LLM_DEMO_SECONDS:-210}
llm=build/llm
model=(--layers 4 --heads 4 --channels 128 --context 256 --batch 8)
tokens_per_step=2048
most_steps=2000

scripts/build.sh default llm
begin=$SECONDS
rm -rf demo
mkdir demo

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
# Shows a command and runs it.
show() {
  printf '$'
  printf ' %q' "$@"
  printf '\n'
  "$@"
}

say "1. A corpus: short stories that nobody wrote before, messages and instructions"
show "$llm" data synth -o demo/corpus
head -n 1 demo/corpus/stories.jsonl | cut -c 1-300

say "2. A tokenizer of 2,000 tokens, learned from the stories"
show "$llm" tokenizer train demo/corpus/stories.jsonl --vocab-size 2000 -o demo/tokenizer

say "3. The text as tokens, one story in twenty kept for validation"
show "$llm" data prepare demo/corpus/stories.jsonl --tokenizer demo/tokenizer -o demo/data \
  --split documents --val-fraction 0.05

say "4. A GPT, trained to say the next token"
# A slow machine trains for fewer steps, so that this takes no longer than $budget seconds.
speed=$("$llm" pretrain --data demo/data -o demo/trial "${model[@]}" --steps 12 --eval-batches 1 \
  --json 2>/dev/null | tail -n 1 | grep -oE '"tokens_per_second":[0-9]+' | grep -oE '[0-9]+$')
rm -rf demo/trial
steps=$((budget * speed / tokens_per_step))
steps=$((steps > most_steps && budget <= 210 ? most_steps : steps < 100 ? 100 : steps))
echo "This machine trains about $speed tokens/s: $steps steps."
show "$llm" pretrain --data demo/data -o demo/model "${model[@]}" --steps "$steps" --lr 4e-3 \
  --warmup 100 --beta2 0.99 --weight-decay 0.01 --eval-every $((steps / 5 + 1)) --eval-batches 8

say "5. What it learned"
show "$llm" plot demo/model -o demo/loss.svg
for prompt in "Once upon a time" "There once was a brave boy" "In a green forest, there lived"; do
  echo
  show "$llm" generate demo/model -p "$prompt" -n 250 --temperature 0.5 2>/dev/null
  echo
done

say "6. A classifier out of it: spam or not"
show "$llm" finetune demo/model --task classify --train demo/corpus/messages.tsv --balance \
  --epochs 2 --lr 5e-4 -o demo/spam
echo
show "$llm" classify demo/spam "Congratulations! You have won 500 dollars. Reply WIN to 80123 now!"
show "$llm" classify demo/spam "Lily is ill today. Can you bring her the homework?"

say "7. An assistant out of it: answers to instructions it has not seen"
show "$llm" finetune demo/model --task instruct --train demo/corpus/instructions.json \
  --mask-prompt --max-length 256 --epochs 2 --lr 1e-3 --answers 3 -o demo/assistant

say "Done in $(((SECONDS - begin) / 60)) min $(((SECONDS - begin) % 60)) s (installing and compiling not counted)"
cat <<END
demo/corpus      the stories
demo/tokenizer   the tokenizer          demo/data   the tokens
demo/model       the model (a Hugging Face folder) with its log and checkpoints
demo/spam        the classifier         demo/assistant   the assistant (llm chat demo/assistant)
demo/loss.svg    the curves of the training

With your own text (.txt or .jsonl files, or folders of them):
  build/llm tokenizer train my.txt --vocab-size 4000 -o my/tokenizer
  build/llm data prepare my.txt --tokenizer my/tokenizer -o my/data
  build/llm pretrain --data my/data -o my/model --layers 6 --heads 6 --channels 192 --context 256 \\
      --batch 8 --lr 1e-3 --epochs 3 --eval-every 200 --sample-every 200
  build/llm generate my/model -p "A beginning"
If it is stopped, the same pretrain command with --resume goes on where it was.
END
