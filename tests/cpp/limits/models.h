// What the algorithms promise, as the smallest programs that say it: every hit is kept in a list,
// nothing is packed, shared or forgotten early. The tests compare the engine with these.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "tenancy/limits/limiter.h"

namespace tenancy::models {

__extension__ using Wide = __int128;

struct Answer {
  bool allowed = false;
  uint64_t remaining = 0;
  int64_t reset_after_ns = 0;
  int64_t retry_after_ns = 0;
};

inline int64_t ceil_to(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

// The largest power of ten that fits `parts` times into the window.
inline int64_t tick_of(int64_t window_ns, int64_t parts) {
  int64_t tick = 1;
  while (tick * 10 <= window_ns / parts) tick *= 10;
  return tick;
}

class Model {
 public:
  explicit Model(const LimitPolicy& limit) : policy(limit) {}
  virtual ~Model() = default;
  Answer hit(uint64_t cost, bool take, int64_t now_ns) {
    if (cost > policy.capacity()) {
      Answer answer = ask(0, false, now_ns);
      answer.allowed = false;
      answer.retry_after_ns = kNever;
      return answer;
    }
    return ask(cost, take && cost != 0, now_ns);
  }
  void refund(uint64_t cost, int64_t taken_ns, int64_t now_ns) {
    if (taken_ns <= now_ns) give_back(cost, taken_ns, now_ns);
  }
  virtual void reset() = 0;

  LimitPolicy policy;

 protected:
  virtual Answer ask(uint64_t cost, bool take, int64_t now_ns) = 0;
  virtual void give_back(uint64_t cost, int64_t taken_ns, int64_t now_ns) = 0;
};

// A bucket that drains one unit per interval; `empty_ns` is when it will be empty.
class Bucket final : public Model {
 public:
  using Model::Model;
  Answer ask(uint64_t cost, bool take, int64_t now_ns) override {
    const int64_t unit = (policy.window_ns + int64_t(policy.limit) - 1) / int64_t(policy.limit);
    const int64_t capacity = unit * int64_t(policy.capacity());
    empty_ns_ = std::min(empty_ns_, now_ns + capacity);
    int64_t level = std::max<int64_t>(empty_ns_ - now_ns, 0);
    const int64_t wanted = level + unit * int64_t(cost);
    Answer answer;
    answer.allowed = wanted <= capacity;
    answer.retry_after_ns = answer.allowed ? 0 : wanted - capacity;
    if (answer.allowed && take) {
      level = wanted;
      empty_ns_ = now_ns + wanted;
    }
    answer.remaining = uint64_t((capacity - level) / unit);
    answer.reset_after_ns = level;
    return answer;
  }
  void give_back(uint64_t cost, int64_t taken_ns, int64_t now_ns) override {
    const int64_t unit = (policy.window_ns + int64_t(policy.limit) - 1) / int64_t(policy.limit);
    const int64_t left =
        unit * int64_t(std::min(cost, policy.capacity())) - std::max<int64_t>(now_ns - taken_ns, 0);
    if (left > 0 && empty_ns_ > now_ns) empty_ns_ = std::max(empty_ns_ - left, now_ns);
  }
  void reset() override { empty_ns_ = 0; }

 private:
  int64_t empty_ns_ = 0;
};

// Hits in cells of the time line; all hits of one cell are forgotten together, one window after the
// last of them. A cell of one tick is the sliding log, a quarter of a window the sliding window.
class Window final : public Model {
 public:
  explicit Window(const LimitPolicy& limit) : Model(limit) {
    if (policy.algorithm == Algorithm::kSlidingLog) {
      tick_ = tick_of(policy.window_ns, 100'000'000);
      cell_ = tick_;
    } else {
      tick_ = tick_of(policy.window_ns, 10'000);
      cell_ = ceil_to(ceil_to(policy.window_ns, 4) / 4, tick_);
    }
  }

  Answer ask(uint64_t cost, bool take, int64_t now_ns) override {
    step_back(now_ns);
    Answer answer;
    uint64_t used = used_at(now_ns);
    answer.allowed = used + cost <= policy.limit;
    if (!answer.allowed) answer.retry_after_ns = retry_after(cost, now_ns);
    if (answer.allowed && take) {
      add(now_ns, cost);
      used += cost;
    }
    answer.remaining = policy.limit > used ? policy.limit - used : 0;
    for (const Cell& cell : cells_) {
      if (cell.count != 0 && cell.last_ns + policy.window_ns > now_ns) {
        answer.reset_after_ns = cell.last_ns + policy.window_ns - now_ns;
      }
    }
    return answer;
  }

  void give_back(uint64_t cost, int64_t taken_ns, int64_t now_ns) override {
    if (ceil_to(taken_ns, tick_) + policy.window_ns <= now_ns) return;
    const int64_t cell_begin = ceil_to(taken_ns, tick_) / cell_ * cell_;
    for (Cell& cell : cells_) {
      if (cell.last_ns + policy.window_ns <= now_ns || cell.last_ns < cell_begin) continue;
      cell.count -= std::min(cost, cell.count);
      return;
    }
  }
  void reset() override { cells_.clear(); }

 private:
  struct Cell {
    int64_t last_ns;
    uint64_t count;
  };

  uint64_t used_at(int64_t now_ns) const {
    uint64_t used = 0;
    for (const Cell& cell : cells_) {
      if (cell.last_ns + policy.window_ns > now_ns) used += cell.count;
    }
    return used;
  }
  int64_t retry_after(uint64_t cost, int64_t now_ns) const {
    for (const Cell& cell : cells_) {
      const int64_t then_ns = cell.last_ns + policy.window_ns;
      if (then_ns > now_ns && used_at(then_ns) + cost <= policy.limit) return then_ns - now_ns;
    }
    return 0;
  }
  void add(int64_t now_ns, uint64_t cost) {
    const int64_t tick_ns = ceil_to(now_ns, tick_);
    const bool same = !cells_.empty() && cells_.back().last_ns >= tick_ns / cell_ * cell_ &&
                      cells_.back().last_ns + policy.window_ns > now_ns;
    if (same) {
      cells_.back().last_ns = tick_ns;
      cells_.back().count += cost;
    } else {
      cells_.push_back({tick_ns, cost});
    }
  }
  // A clock that stepped back: what counted at the newest hit was made now.
  void step_back(int64_t now_ns) {
    if (cells_.empty() || cells_.back().last_ns <= ceil_to(now_ns, tick_)) return;
    const uint64_t carried = used_at(cells_.back().last_ns);
    cells_ = {{ceil_to(now_ns, tick_), carried}};
  }

  int64_t tick_ = 0;
  int64_t cell_ = 0;
  std::vector<Cell> cells_;
};

// Counts per period of the time line.
class Periods : public Model {
 public:
  using Model::Model;
  void reset() override { counts_.clear(); }

 protected:
  struct Count {
    int64_t period;
    uint64_t count;
  };
  uint64_t& at(int64_t period) {
    for (Count& count : counts_) {
      if (count.period == period) return count.count;
    }
    counts_.push_back({period, 0});
    return counts_.back().count;
  }
  int64_t newest() const {
    int64_t newest = INT64_MIN;
    for (const Count& count : counts_) {
      if (count.count != 0) newest = std::max(newest, count.period);
    }
    return newest;
  }
  std::vector<Count> counts_;
};

class Fixed final : public Periods {
 public:
  using Periods::Periods;
  Answer ask(uint64_t cost, bool take, int64_t now_ns) override {
    const int64_t period = now_ns / policy.window_ns;
    if (newest() > period) counts_ = {{period, at(newest())}};
    const int64_t end_ns = (period + 1) * policy.window_ns;
    Answer answer;
    uint64_t& used = at(period);
    answer.allowed = used + cost <= policy.limit;
    if (!answer.allowed) answer.retry_after_ns = end_ns - now_ns;
    if (answer.allowed && take) {
      for (Count& count : counts_) count.count = count.period == period ? count.count : 0;
      used += cost;
    }
    answer.remaining = policy.limit > used ? policy.limit - used : 0;
    answer.reset_after_ns = used == 0 ? 0 : end_ns - now_ns;
    return answer;
  }
  void give_back(uint64_t cost, int64_t taken_ns, int64_t now_ns) override {
    const int64_t period = taken_ns / policy.window_ns;
    if (period != now_ns / policy.window_ns && newest() != period) return;
    if ((period + 1) * policy.window_ns <= now_ns) return;
    uint64_t& used = at(period);
    used -= std::min(used, cost);
  }
};

// A window begun by its first hit.
class FromFirst final : public Model {
 public:
  using Model::Model;
  Answer ask(uint64_t cost, bool take, int64_t now_ns) override {
    const int64_t tick = tick_of(policy.window_ns, 10'000);
    const int64_t here_ns = ceil_to(now_ns, tick);
    if (count_ != 0 && begin_ns_ > here_ns) begin_ns_ = here_ns;
    const bool running = count_ != 0 && begin_ns_ + policy.window_ns > now_ns;
    const uint64_t used = running ? count_ : 0;
    Answer answer;
    answer.allowed = used + cost <= policy.limit;
    if (answer.allowed && take) {
      if (!running) begin_ns_ = here_ns;
      count_ = used + cost;
    }
    const uint64_t now_used = answer.allowed && take ? used + cost : used;
    answer.remaining = policy.limit > now_used ? policy.limit - now_used : 0;
    answer.reset_after_ns = now_used == 0 ? 0 : begin_ns_ + policy.window_ns - now_ns;
    answer.retry_after_ns = answer.allowed ? 0 : answer.reset_after_ns;
    return answer;
  }
  void give_back(uint64_t cost, int64_t taken_ns, int64_t now_ns) override {
    const int64_t tick = tick_of(policy.window_ns, 10'000);
    if (begin_ns_ + policy.window_ns <= now_ns || begin_ns_ > ceil_to(taken_ns, tick)) return;
    count_ -= std::min(count_, cost);
  }
  void reset() override { count_ = 0; }

 private:
  int64_t begin_ns_ = 0;
  uint64_t count_ = 0;
};

class SlidingCounter final : public Periods {
 public:
  using Periods::Periods;
  Answer ask(uint64_t cost, bool take, int64_t now_ns) override {
    const int64_t period = now_ns / policy.window_ns;
    if (newest_ > period) {
      const uint64_t carried = at(newest_) + at(newest_ - 1);
      counts_ = {{period, carried}};
      newest_ = period;
    }
    Answer answer;
    answer.allowed = fits(cost, now_ns);
    if (!answer.allowed) answer.retry_after_ns = retry_after(cost, now_ns);
    if (answer.allowed && take) {
      at(period) += cost;
      newest_ = period;
    }
    while (answer.remaining < policy.limit && fits(answer.remaining + 1, now_ns))
      ++answer.remaining;
    const int64_t end_ns = (period + 1) * policy.window_ns;
    if (at(period) != 0) {
      answer.reset_after_ns = end_ns + policy.window_ns - now_ns;
    } else if (at(period - 1) != 0) {
      answer.reset_after_ns = end_ns - now_ns;
    }
    return answer;
  }
  void give_back(uint64_t cost, int64_t taken_ns, int64_t now_ns) override {
    const int64_t period = taken_ns / policy.window_ns;
    if (period < now_ns / policy.window_ns - 1) return;
    uint64_t& used = at(period);
    used -= std::min(used, cost);
  }

 private:
  bool fits(uint64_t cost, int64_t now_ns) {
    const int64_t period = now_ns / policy.window_ns;
    const int64_t rest = (period + 1) * policy.window_ns - now_ns;
    const Wide used = Wide{at(period - 1)} * rest + Wide{at(period)} * policy.window_ns;
    return used + Wide{cost} * policy.window_ns <= Wide{policy.limit} * policy.window_ns;
  }
  // Found by halving: waiting longer never helps less.
  int64_t retry_after(uint64_t cost, int64_t now_ns) {
    int64_t low = 0;
    int64_t high = 3 * policy.window_ns;
    while (high - low > 1) {
      const int64_t middle = low + (high - low) / 2;
      (fits(cost, now_ns + middle) ? high : low) = middle;
    }
    return high;
  }

  int64_t newest_ = INT64_MIN;  // the last period in which something was taken
};

inline std::unique_ptr<Model> make(const LimitPolicy& policy) {
  switch (policy.algorithm) {
    case Algorithm::kSlidingWindow:
    case Algorithm::kSlidingLog: return std::make_unique<Window>(policy);
    case Algorithm::kFixedWindow:
      if (policy.anchor_first) return std::make_unique<FromFirst>(policy);
      return std::make_unique<Fixed>(policy);
    case Algorithm::kSlidingCounter: return std::make_unique<SlidingCounter>(policy);
    default: return std::make_unique<Bucket>(policy);
  }
}

}  // namespace tenancy::models
