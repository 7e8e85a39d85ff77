// The names of price rules, and the presets that reproduce other billing systems.
//
// "default"; "stripe", "lago", "openmeter", "killbill" as these document themselves
// (docs/pricing.md cites the pages; tests hold their worked examples).
//
// Thread safety: pure functions.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "tenancy/catalog/fields.h"
#include "tenancy/catalog/price_def.h"

namespace tenancy {

std::optional<PriceRules> rules_preset(std::string_view name);
std::vector<std::string_view> rules_presets();

// The name of a preset, or a mapping of options over `base` (over a preset, where it has the member
// "preset"). Reports what is wrong and returns what could be read.
PriceRules read_rules(const Field& field, const PriceRules& base);

// Every option with the name of its value, in the order of the struct.
std::vector<std::pair<std::string_view, std::string>> rules_text(const PriceRules& rules);

}  // namespace tenancy
