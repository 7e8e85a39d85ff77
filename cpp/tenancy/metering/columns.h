// UsageColumns: usage events as their sender has them, one column for each part.
//
// Ownership: texts are borrowed, and must not change while a call reads them. Thread safety: plain
// values.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "tenancy/base/int128.h"
#include "tenancy/base/status.h"
#include "tenancy/metering/usage_event.h"

namespace tenancy::metering {

// One text for each event: all the same, each its own, or codes into a few.
class TextColumn {
 public:
  // None: the text is missing. (An empty one is there.)
  static constexpr std::string_view kNone{};
  static TextColumn same(std::string_view text) { return {{text}, {}, true}; }
  static TextColumn each(std::vector<std::string_view> texts) {
    return {std::move(texts), {}, false};
  }
  // Of each event the number of its text.
  static TextColumn coded(std::vector<std::string_view> texts, std::vector<uint32_t> codes) {
    return {std::move(texts), std::move(codes), false};
  }

  bool is_each() const { return codes_.empty() && !same_; }
  // Those that the events choose from; of a column of each, all.
  const std::vector<std::string_view>& texts() const { return texts_; }
  size_t code(size_t event) const { return same_ ? 0 : codes_.empty() ? event : codes_[event]; }
  std::string_view at(size_t event) const { return texts_[code(event)]; }
  // Of how many events; of one text for all, 1.
  size_t events() const { return codes_.empty() ? texts_.size() : codes_.size(); }
  // Whether it has a text for each of so many events.
  bool covers(size_t events) const { return same_ || this->events() == events; }

 private:
  TextColumn(std::vector<std::string_view> texts, std::vector<uint32_t> codes, bool same)
      : texts_(std::move(texts)), codes_(std::move(codes)), same_(same) {}

  std::vector<std::string_view> texts_;
  std::vector<uint32_t> codes_;
  bool same_;
};

constexpr int64_t kNoTime = std::numeric_limits<int64_t>::min();

struct UsageColumns {
  size_t events = 0;
  TextColumn tenants = TextColumn::same({});
  TextColumn metrics = TextColumn::same({});
  TextColumn ids = TextColumn::same({});
  TextColumn sources = TextColumn::same("");
  TextColumn properties = TextColumn::same(TextColumn::kNone);
  std::vector<int64_t> times_ns{};   // empty or kNoTime: the time of recording
  std::vector<Int128> quantities{};  // units of 1e-12; empty: 1 each
  std::vector<Action> actions{};     // empty: all are recorded

  // kInvalidArgument: "ids[7]: …", the first value that breaks a bound of usage_event.h.
  Status check() const;

  // The event of that number; without a time of its own, of `now_ns`.
  UsageEvent event(size_t number, int64_t now_ns) const;
  Action action(size_t number) const { return actions.empty() ? Action::kRecord : actions[number]; }
};

}  // namespace tenancy::metering
