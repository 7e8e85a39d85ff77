#include "tenancy/catalog/limit_policy.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "tenancy/catalog/names.h"

namespace tenancy {

namespace {

__extension__ using Wide = unsigned __int128;

struct AlgorithmName {
  Algorithm algorithm;
  std::string_view name;
};

constexpr std::array<AlgorithmName, 7> kAlgorithms{{
    {Algorithm::kSlidingWindow, "sliding_window"},
    {Algorithm::kTokenBucket, "token_bucket"},
    {Algorithm::kLeakyBucket, "leaky_bucket"},
    {Algorithm::kLeakyQueue, "leaky_queue"},
    {Algorithm::kFixedWindow, "fixed_window"},
    {Algorithm::kSlidingCounter, "sliding_counter"},
    {Algorithm::kSlidingLog, "sliding_log"},
}};

constexpr uint64_t kMillisecond = 1'000'000;
constexpr uint64_t kSecond = 1000 * kMillisecond;
constexpr uint64_t kMinute = 60 * kSecond;
constexpr uint64_t kHour = 60 * kMinute;
constexpr uint64_t kDay = 24 * kHour;

struct Unit {
  std::string_view name;
  uint64_t ns;
};

// A unit may also end in 's'. The first name of a length is the one `text` writes.
constexpr std::array<Unit, 18> kUnits{{
    {"ms", kMillisecond},
    {"msec", kMillisecond},
    {"millisecond", kMillisecond},
    {"second", kSecond},
    {"s", kSecond},
    {"sec", kSecond},
    {"minute", kMinute},
    {"m", kMinute},
    {"min", kMinute},
    {"hour", kHour},
    {"h", kHour},
    {"hr", kHour},
    {"day", kDay},
    {"d", kDay},
    {"week", 7 * kDay},
    {"w", 7 * kDay},
    {"wk", 7 * kDay},
    {"fortnight", 14 * kDay},
}};

constexpr std::string_view kForm =
    "a limit such as \"100/minute\", \"5/s\", \"10/90s\" or \"1000 per 2 hours\"";
constexpr std::string_view kUnitRule =
    "ms, s/second, m/minute, h/hour, d/day or w/week, optionally with a number in front";

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// Takes the letters (or digits) at the front of `text`.
template <class Predicate>
std::string_view take_while(std::string_view* text, Predicate predicate) {
  size_t count = 0;
  while (count < text->size() && predicate((*text)[count])) ++count;
  const std::string_view taken = text->substr(0, count);
  text->remove_prefix(count);
  return taken;
}

// Digits, with '_' allowed between two of them. Nothing when it does not fit 64 bits.
std::optional<uint64_t> number(std::string_view digits) {
  uint64_t value = 0;
  char last = '_';
  for (const char c : digits) {
    if (c == '_' && last == '_') return std::nullopt;
    last = c;
    if (c == '_') continue;
    if (value > (UINT64_MAX - 9) / 10) return std::nullopt;
    value = value * 10 + static_cast<uint64_t>(c - '0');
  }
  return last == '_' ? std::nullopt : std::optional(value);
}

std::optional<uint64_t> unit_ns(std::string_view name) {
  std::string lower(name);
  std::ranges::transform(lower, lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  });
  for (const bool plural : {false, true}) {
    if (plural && (lower.size() < 3 || lower.back() != 's')) break;
    const std::string_view wanted =
        plural ? std::string_view(lower).substr(0, lower.size() - 1) : lower;
    const auto found = std::ranges::find(kUnits, wanted, &Unit::name);
    if (found != kUnits.end()) return found->ns;
  }
  return std::nullopt;
}

Error bad(std::string_view text, const std::string& what) {
  return {Code::kInvalidArgument, "rate limit " + in_quotes(text) + ": " + what};
}

std::string duration_text(uint64_t ns) {
  for (const auto& [name, unit] :
       {Unit{"day", kDay}, Unit{"hour", kHour}, Unit{"minute", kMinute}, Unit{"second", kSecond}}) {
    if (ns == unit) return std::string(name);
  }
  if (ns % kSecond == 0) return std::to_string(ns / kSecond) + "s";
  if (ns % kMillisecond == 0) return std::to_string(ns / kMillisecond) + "ms";
  return std::to_string(ns) + "ns";
}

// The part behind "/" or "per".
Result<int64_t> parse_window(std::string_view whole, std::string_view text) {
  std::string_view rest = trim(text);
  const std::string_view digits = take_while(&rest, [](char c) { return is_digit(c) || c == '_'; });
  const std::optional<uint64_t> count =
      digits.empty() ? std::optional<uint64_t>(1) : number(digits);
  rest = trim(rest);
  for (const std::string_view calendar : {"month", "year"}) {
    if (!rest.starts_with(calendar)) continue;
    return bad(whole,
               "a " + std::string(calendar) +
                   " has no fixed length: write days, or use a quota with a calendar period");
  }
  const std::string_view name = take_while(&rest, is_letter);
  std::optional<uint64_t> unit = unit_ns(name);
  if (!unit && name == "ns" && !digits.empty()) unit = 1;  // what `text` writes for odd lengths
  if (!unit || !rest.empty()) {
    return bad(whole, "expected the unit of time " + std::string(kUnitRule) + ", got " +
                          in_quotes(trim(text)));
  }
  if (!count) return bad(whole, "the number before the unit does not fit 64 bits");
  const Wide ns = Wide{*count} * *unit;
  if (ns < Wide{static_cast<uint64_t>(kWindowNsMin)} ||
      ns > Wide{static_cast<uint64_t>(kWindowNsMax)}) {
    return bad(whole, "a window is 1 ms to 400 days long, got " + in_quotes(trim(text)));
  }
  return static_cast<int64_t>(static_cast<uint64_t>(ns));
}

Status too_large(const LimitPolicy& policy, uint64_t largest) {
  return {Code::kInvalidArgument, "limit: " + std::string(algorithm_name(policy.algorithm)) +
                                      " counts at most " + std::to_string(largest) +
                                      " per window, got " + std::to_string(policy.limit) +
                                      "; use token_bucket"};
}

Status validate_gcra(const LimitPolicy& policy) {
  if (policy.limit > static_cast<uint64_t>(policy.window_ns)) {
    return {Code::kInvalidArgument, "limit: at most one unit per nanosecond, got " + policy.text() +
                                        "; count in larger units (kilobytes for bytes)"};
  }
  const Wide drain = Wide{policy.capacity()} * static_cast<uint64_t>(policy.interval_ns());
  if (drain > Wide{static_cast<uint64_t>(kDrainNsMax)}) {
    return {Code::kInvalidArgument, "burst: " + std::to_string(policy.capacity()) + " at " +
                                        policy.text() +
                                        " takes more than ten years to come back; lower the burst"};
  }
  return {};
}

uint64_t limit_max(Algorithm algorithm) {
  switch (algorithm) {
    case Algorithm::kSlidingWindow: return kSlidingWindowLimitMax;
    case Algorithm::kFixedWindow: return kFixedWindowLimitMax;
    case Algorithm::kSlidingCounter: return kSlidingCounterLimitMax;
    case Algorithm::kSlidingLog: return kSlidingLogLimitMax;
    case Algorithm::kTokenBucket:
    case Algorithm::kLeakyBucket:
    case Algorithm::kLeakyQueue: break;
  }
  return UINT64_MAX;
}

}  // namespace

std::string_view algorithm_name(Algorithm algorithm) {
  const auto found = std::ranges::find(kAlgorithms, algorithm, &AlgorithmName::algorithm);
  return found == kAlgorithms.end() ? std::string_view("unknown") : found->name;
}

Result<Algorithm> algorithm_from_name(std::string_view name) {
  const auto found = std::ranges::find(kAlgorithms, name, &AlgorithmName::name);
  if (found != kAlgorithms.end()) return found->algorithm;
  std::string known;
  for (const auto& entry : kAlgorithms) {
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  return Error{Code::kInvalidArgument,
               "algorithm: expected one of " + known + ", got " + in_quotes(name)};
}

Result<LimitPolicy> LimitPolicy::parse(std::string_view text) {
  std::string_view rest = trim(text);
  if (rest.starts_with("-")) return bad(text, "the limit is a positive whole number");
  const std::string_view digits = take_while(&rest, [](char c) { return is_digit(c) || c == '_'; });
  if (digits.empty()) return bad(text, "expected " + std::string(kForm));
  const std::optional<uint64_t> limit = number(digits);
  if (!limit) return bad(text, in_quotes(digits) + " is no whole number of 64 bits");
  if (rest.starts_with(".") || rest.starts_with(",")) {
    return bad(
        text,
        "the limit is a whole number; a fraction is a longer window: \"1/2s\", not \"0.5/s\"");
  }
  if (*limit == 0)
    return bad(text, "the limit is a positive whole number; 0 would refuse everything");
  rest = trim(rest);
  if (rest.starts_with("/")) {
    rest.remove_prefix(1);
  } else {
    const std::string_view word = take_while(&rest, is_letter);
    if (word != "per" || rest.empty() || !is_space(rest.front())) {
      return bad(text, "expected " + std::string(kForm));
    }
  }
  const Result<int64_t> window_ns = parse_window(text, rest);
  if (!window_ns) return window_ns.error();
  LimitPolicy policy;
  policy.limit = *limit;
  policy.window_ns = window_ns.value();
  return policy;
}

Result<std::vector<LimitPolicy>> LimitPolicy::parse_list(std::string_view text) {
  std::vector<LimitPolicy> policies;
  std::string_view rest = text;
  while (true) {
    const size_t end = rest.find(';');
    Result<LimitPolicy> policy = parse(rest.substr(0, end));
    if (!policy) return policy.error();
    const auto same = std::ranges::find(policies, policy->window_ns, &LimitPolicy::window_ns);
    if (same != policies.end()) {
      return bad(text, "two limits for one window, " + same->text() + " and " + policy->text());
    }
    policies.push_back(*policy);
    if (end == std::string_view::npos) return policies;
    rest.remove_prefix(end + 1);
  }
}

Status LimitPolicy::validate() const {
  if (limit == 0) {
    return {Code::kInvalidArgument, "limit: expected a positive whole number, got 0"};
  }
  if (window_ns < kWindowNsMin || window_ns > kWindowNsMax) {
    return {Code::kInvalidArgument,
            "window: expected 1 ms to 400 days, got " + std::to_string(window_ns) + " ns"};
  }
  if (burst != 0 && !is_gcra()) {
    return {Code::kInvalidArgument, "burst: " + std::string(algorithm_name(algorithm)) +
                                        " has none; use token_bucket, leaky_bucket or leaky_queue"};
  }
  if (anchor_first && algorithm != Algorithm::kFixedWindow) {
    return {Code::kInvalidArgument,
            "anchor: only fixed_window can begin at the first request, got " +
                std::string(algorithm_name(algorithm))};
  }
  if (limit > limit_max(algorithm)) return too_large(*this, limit_max(algorithm));
  return is_gcra() ? validate_gcra(*this) : Status();
}

std::string LimitPolicy::text() const {
  return std::to_string(limit) + "/" + duration_text(static_cast<uint64_t>(window_ns));
}

int64_t LimitPolicy::refill_ns() const {
  if (!is_gcra() || burst == 0 || burst == limit) return window_ns;
  const Wide whole = Wide{static_cast<uint64_t>(window_ns)} * burst;
  return static_cast<int64_t>((whole + limit - 1) / limit);  // at most kDrainNsMax, see `validate`
}

uint64_t LimitPolicy::worst_case() const {
  switch (algorithm) {
    case Algorithm::kSlidingWindow:
    case Algorithm::kSlidingLog: return limit;
    case Algorithm::kFixedWindow:
    case Algorithm::kSlidingCounter: return 2 * limit;
    case Algorithm::kTokenBucket:
    case Algorithm::kLeakyBucket:
    case Algorithm::kLeakyQueue: break;
  }
  const uint64_t most = capacity();
  return most > UINT64_MAX - limit ? UINT64_MAX : most + limit;
}

}  // namespace tenancy
