// Short messages for the classifier of the synthetic corpus. No single word gives the label away:
// ham speaks of prizes, calls and free evenings too, and some spam is short and polite.
#pragma once

#include <span>
#include <string>

#include "data/synth_text.h"

namespace llm::synth {

// The patterns, and what fills them: name, name2, place, food, thing, time, day, amount, price,
// phone, short (a number to text to), code, link, page, shop, bank, and numbers.
std::span<const std::string_view> ham_patterns();
std::span<const std::string_view> spam_patterns();

// One message without tabs or line ends.
std::string write_message(RandomSequence& random, bool spam);

}  // namespace llm::synth
