#include "train/train_state.h"

#include <cmath>

#include "base/error.h"

namespace llm {
namespace {

constexpr double kMaxLoss = 1e300;

}  // namespace

Json to_json(const TrainState& state) {
  Json json;
  json["format"] = 1;
  json["step"] = state.step;
  json["samples"] = state.samples;
  json["tokens"] = state.tokens;
  json["updates"] = state.updates;
  json["seed"] = state.seed;
  json["bad_in_a_row"] = state.bad_in_a_row;
  json["skipped"] = state.skipped;
  // Not evaluated yet: null (JSON has neither NaN nor infinity).
  json["val_loss"] = std::isfinite(state.val_loss) ? Json(state.val_loss) : Json(nullptr);
  json["best_val_loss"] =
      std::isfinite(state.best_val_loss) ? Json(state.best_val_loss) : Json(nullptr);
  json["best_step"] = state.best_step;
  json["window"] = Json::array();
  for (const SpikeWindow::Entry& entry : state.window.entries()) {
    json["window"].push_back({entry.step, static_cast<double>(entry.loss)});
  }
  return json;
}

TrainState parse_train_state(std::string_view text, const std::string& where) {
  const Json json = parse_json(text, where, {.max_bytes = 1 << 20});
  const JsonObject object(json, where);
  object.integer("format", 1, 1);
  TrainState state;
  state.step = object.integer("step", 0, kMaxJsonInteger);
  state.samples = object.integer("samples", 0, kMaxJsonInteger);
  state.tokens = object.integer("tokens", 0, kMaxJsonInteger);
  state.updates =
      static_cast<int32_t>(object.integer("updates", 0, std::numeric_limits<int32_t>::max()));
  state.seed = object.integer("seed", 0, kMaxJsonInteger);
  state.bad_in_a_row = object.integer("bad_in_a_row", 0, kMaxJsonInteger);
  state.skipped = object.integer("skipped", 0, kMaxJsonInteger);
  state.val_loss = object.number("val_loss", -kMaxLoss, kMaxLoss, state.val_loss);
  state.best_val_loss = object.number("best_val_loss", -kMaxLoss, kMaxLoss, state.best_val_loss);
  state.best_step = object.integer("best_step", -1, state.step);
  std::vector<SpikeWindow::Entry> entries;
  for (const Json& pair : object.array("window")) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_number_integer() ||
        !pair[1].is_number() || !std::isfinite(pair[1].get<float>())) {
      object.fail("window", "has an entry that is not [step, loss]");
    }
    const auto step = pair[0].get<int64_t>();
    if (step < 1 || step > state.step || (!entries.empty() && step <= entries.back().step)) {
      object.fail("window", "is not in the order of steps");
    }
    entries.push_back({step, pair[1].get<float>()});
  }
  if (static_cast<int64_t>(entries.size()) > kSpikeWindow) object.fail("window", "is too long");
  state.window.set_entries(entries);
  return state;
}

}  // namespace llm
