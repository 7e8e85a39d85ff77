#include "tenancy/catalog/limit_patch.h"

#include <algorithm>
#include <array>

#include "tenancy/catalog/amounts.h"
#include "tenancy/catalog/names.h"

namespace tenancy {

namespace {

struct ScopeName {
  std::string_view name;
  uint8_t bit;
};

constexpr std::array<ScopeName, 6> kScopes{{
    {"tenant", kScopeTenant},
    {"user", kScopeUser},
    {"key", kScopeKey},
    {"endpoint", kScopeEndpoint},
    {"ip", kScopeIp},
    {"action", kScopeAction},
}};

constexpr std::string_view kScopeRule =
    "\"global\", or some of \"tenant\", \"user\", \"key\", \"endpoint\", \"ip\" and \"action\" "
    "joined "
    "by '*'";

// The bits of "tenant*endpoint"; nothing when a part is unknown or repeated.
std::optional<uint8_t> parse_scope(std::string_view text) {
  if (text == "global") return uint8_t{0};
  unsigned scope = 0;
  while (true) {
    const size_t star = text.find('*');
    const auto found = std::ranges::find(kScopes, text.substr(0, star), &ScopeName::name);
    if (found == kScopes.end() || (scope & found->bit) != 0) return std::nullopt;
    scope |= found->bit;
    if (star == text.npos) return static_cast<uint8_t>(scope);
    text.remove_prefix(star + 1);
  }
}

std::optional<uint8_t> read_scope(const Field& field, LimitPlace place) {
  const std::optional<uint8_t> scope =
      field.json().is_string() ? parse_scope(field.json().as_string()) : std::nullopt;
  if (!scope) {
    field.expected(kScopeRule);
    return std::nullopt;
  }
  if (place == LimitPlace::kPlan) {
    if (*scope == 0) {
      field.error("a plan's limit counts per tenant; put a global limit under \"limits\"");
      return std::nullopt;
    }
    return static_cast<uint8_t>(*scope | kPlanScope);
  }
  // Users and keys are named inside their tenant: "u1" of two tenants is two users.
  const bool inside_tenant = (*scope & (kScopeUser | kScopeKey)) != 0;
  return inside_tenant ? static_cast<uint8_t>(*scope | kScopeTenant) : *scope;
}

// Reads one limit: remembers what was said so far and whether all of it was right.
class LimitReader {
 public:
  LimitReader(const Field& field, LimitPlace place) : field_(field), place_(place) {}

  std::optional<LimitPatch> read() {
    switch (field_.kind()) {
      case Json::Kind::kArray: windows(field_); break;
      case Json::Kind::kObject: mapping(); break;
      default: scalar(); break;
    }
    if (!good_) return std::nullopt;
    std::ranges::sort(patch_.windows, {}, &LimitPolicy::window_ns);
    return std::move(patch_);
  }

 private:
  static constexpr std::string_view kForms =
      "a limit such as \"500/minute\", a mapping with \"limit\" and \"window\", a list of those, "
      "or "
      "\"unlimited\"";

  void scalar() {
    const Json& json = field_.json();
    if (json.is_integer() && json.as_integer() == -1) {
      patch_.replace = true;
    } else if (json.is_string() && json.as_string() == "unlimited") {
      patch_.replace = true;
    } else if (json.is_string()) {
      rate(field_, field_, {});
    } else {
      field_.expected(kForms);
      good_ = false;
    }
  }

  void mapping() {
    const Field replace = field_.member("replace");
    if (replace.present()) {
      const std::optional<bool> value = replace.boolean();
      good_ = good_ && value.has_value();
      patch_.replace = value.value_or(false);
    }
    const Field list = field_.member("windows");
    if (!list.present()) {
      good_ = field_.is_mapping_of({"limit", "window", "burst", "algorithm", "scope", "anchor",
                                    "shadow", "on_full", "replace"}) &&
              good_;
      window_mapping(field_,
                     field_.member("limit").present() && !field_.member("window").present());
      return;
    }
    good_ = field_.is_mapping_of({"windows", "scope", "replace"}) && good_;
    scope(field_.member("scope"));
    if (list.is_list()) {
      windows(list);
    } else {
      good_ = false;
    }
  }

  void windows(const Field& list) {
    const size_t count = list.json().as_array().size();
    if (count == 0 || count > kWindowsMax) {
      list.error("expected 1 to " + std::to_string(kWindowsMax) + " windows, got " +
                 std::to_string(count) + "; write \"unlimited\" for no limit");
      good_ = false;
      return;
    }
    for (size_t i = 0; i < count; ++i) window(list.element(i));
  }

  void window(const Field& item) {
    if (item.json().is_string()) {
      rate(item, item, {});
    } else if (item.json().is_object()) {
      good_ = item.is_mapping_of({"limit", "window", "burst", "algorithm", "scope", "anchor",
                                  "shadow", "on_full"}) &&
              good_;
      window_mapping(item, item.member("limit").present() && !item.member("window").present());
    } else {
      item.expected("a window such as \"500/minute\" or a mapping with \"limit\" and \"window\"");
      good_ = false;
    }
  }

  void window_mapping(const Field& item, bool rate_in_limit) {
    scope(item.member("scope"));
    LimitPolicy options;
    options_of(item, &options);
    const Field limit = item.member("limit");
    if (!limit.present()) {
      item.error(
          "\"limit\" is missing: a positive integer, \"unlimited\" or a rate such as "
          "\"500/minute\"");
      good_ = false;
    } else if (rate_in_limit) {
      limit_alone(item, limit, options);
    } else {
      limit_and_window(item, limit, options);
    }
  }

  // {limit: 600/minute} or {limit: unlimited}
  void limit_alone(const Field& item, const Field& limit, const LimitPolicy& options) {
    const Json& json = limit.json();
    if (json.is_string() && json.as_string() != "unlimited") {
      return rate(item, limit, options);
    }
    const std::optional<Amount> amount = read_amount(limit, Lowest::kOne);
    if (amount && amount->unlimited) {
      patch_.replace = true;
      return;
    }
    if (amount) {
      limit.error("\"window\" is missing: write " +
                  in_quotes(std::to_string(amount->value) + "/minute") +
                  ", or add \"window: 60s\"");
    }
    good_ = false;
  }

  void limit_and_window(const Field& item, const Field& limit, const LimitPolicy& options) {
    const std::optional<Amount> amount = read_amount(limit, Lowest::kOne);
    const std::optional<int64_t> window_ns = read_duration(item.member("window"), "60s");
    if (!amount || !window_ns) {
      good_ = false;
      return;
    }
    LimitPolicy policy = options;
    policy.limit = amount->value;
    policy.window_ns = *window_ns;
    if (amount->unlimited) {
      if (is_new_length(item, *window_ns)) patch_.unlimited_ns.push_back(*window_ns);
    } else {
      add(item, policy);
    }
  }

  // "500/minute", with options that were written beside it in `item`.
  void rate(const Field& item, const Field& text, LimitPolicy options) {
    const Result<LimitPolicy> parsed = LimitPolicy::parse(text.json().as_string());
    if (!parsed.ok()) {
      text.error(parsed.error().message);
      good_ = false;
      return;
    }
    options.limit = parsed->limit;
    options.window_ns = parsed->window_ns;
    if (options.limit > static_cast<uint64_t>(kAmountMax)) {
      text.expected("a limit of at most 10^18");
      good_ = false;
      return;
    }
    add(item, options);
  }

  void options_of(const Field& item, LimitPolicy* policy) {
    const Field burst = item.member("burst");
    if (burst.present()) {
      const std::optional<int64_t> value = burst.integer(1, kAmountMax);
      good_ = good_ && value.has_value();
      policy->burst = static_cast<uint64_t>(value.value_or(0));
      policy->algorithm = Algorithm::kTokenBucket;  // unless said otherwise: bursts are its meaning
    }
    const Field algorithm = item.member("algorithm");
    if (algorithm.present()) {
      const std::optional<size_t> chosen =
          algorithm.choice({"sliding_window", "token_bucket", "leaky_bucket", "leaky_queue",
                            "fixed_window", "sliding_counter", "sliding_log"});
      good_ = good_ && chosen.has_value();
      policy->algorithm = static_cast<Algorithm>(chosen.value_or(0));
    }
    const std::optional<size_t> anchor = option(item.member("anchor"), {"clock", "first"});
    policy->anchor_first = anchor == size_t{1};
    const std::optional<size_t> on_full = option(item.member("on_full"), {"refuse", "allow"});
    policy->on_full = on_full == size_t{1} ? OnFull::kAllow : OnFull::kRefuse;
    const Field shadow = item.member("shadow");
    if (shadow.present()) {
      const std::optional<bool> value = shadow.boolean();
      good_ = good_ && value.has_value();
      policy->shadow = value.value_or(false);
    }
  }

  std::optional<size_t> option(const Field& field,
                               std::initializer_list<std::string_view> choices) {
    if (!field.present()) return std::nullopt;
    const std::optional<size_t> chosen = field.choice(choices);
    good_ = good_ && chosen.has_value();
    return chosen;
  }

  void scope(const Field& field) {
    if (!field.present()) return;
    const std::optional<uint8_t> value = read_scope(field, place_);
    if (!value) {
      good_ = false;
    } else if (patch_.scope && *patch_.scope != *value) {
      field.error("all windows of one limit have one scope, and " +
                  in_quotes(scope_text(*patch_.scope)) + " was said before; make a second limit");
      good_ = false;
    } else {
      patch_.scope = value;
    }
  }

  bool is_new_length(const Field& item, int64_t window_ns) {
    const bool known =
        std::ranges::find(patch_.unlimited_ns, window_ns) != patch_.unlimited_ns.end() ||
        std::ranges::find(patch_.windows, window_ns, &LimitPolicy::window_ns) !=
            patch_.windows.end();
    if (known) {
      item.error("a window of this length was given before; keep one of them");
      good_ = false;
    }
    return !known;
  }

  void add(const Field& item, const LimitPolicy& policy) {
    const Status valid = policy.validate();
    if (!valid.ok()) {
      invalid(item, valid.error().message);
      good_ = false;
    } else if (is_new_length(item, policy.window_ns)) {
      patch_.windows.push_back(policy);
    }
  }

  // `validate` begins with the member it is about: that becomes part of the path.
  static void invalid(const Field& item, const std::string& message) {
    const size_t colon = message.find(": ");
    const Field member = item.member(message.substr(0, colon));
    if (colon == message.npos || !member.present()) {
      item.error(message);
    } else {
      member.error(message.substr(colon + 2));
    }
  }

  const Field& field_;
  const LimitPlace place_;
  LimitPatch patch_;
  bool good_ = true;
};

}  // namespace

std::optional<LimitPatch> read_limit(const Field& field, LimitPlace place) {
  return LimitReader(field, place).read();
}

void apply(const LimitPatch& patch, LimitRule* rule) {
  if (patch.scope) rule->scope = *patch.scope;
  if (patch.replace) rule->windows.clear();
  std::erase_if(rule->windows, [&](const LimitPolicy& old) {
    return std::ranges::find(patch.unlimited_ns, old.window_ns) != patch.unlimited_ns.end() ||
           std::ranges::find(patch.windows, old.window_ns, &LimitPolicy::window_ns) !=
               patch.windows.end();
  });
  rule->windows.insert(rule->windows.end(), patch.windows.begin(), patch.windows.end());
  std::ranges::sort(rule->windows, {}, &LimitPolicy::window_ns);
}

std::string scope_text(uint8_t scope) {
  std::string result;
  for (const ScopeName& each : kScopes) {
    if ((scope & each.bit) == 0) continue;
    if (!result.empty()) result += '*';
    result += each.name;
  }
  return result.empty() ? "global" : result;
}

}  // namespace tenancy
