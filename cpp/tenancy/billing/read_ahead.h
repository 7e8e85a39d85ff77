// ReadAhead: asks memory for what is read next, a little at a time, while there is work to do.
//
// Columns are worked on in blocks that fit the first-level cache, so the processor does not see
// that the memory behind a block will be wanted, and asking for all of it at once takes as long as
// waiting for it. A few lines between a few sums cost nearly nothing.
//
// Ownership: none; addresses are only hints, and nothing is read. Thread safety: one thread.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace tenancy {

class ReadAhead {
 public:
  // Begins a plan of so many steps, without anything to be read.
  void plan(int64_t steps) {
    steps_ = std::max<int64_t>(steps, 1);
    used_ = 0;
  }

  // These bytes too, evenly over the steps. What is more than some lines in each step is left out.
  void add(std::span<const char> bytes) {
    const auto size = static_cast<int64_t>(bytes.size());
    const int64_t stride = (size + steps_ - 1) / steps_;
    for (int64_t line = 0; line < stride && used_ < begins_.size(); line += kLineBytes) {
      begins_[used_] = bytes.data() + line;
      strides_[used_] = stride;
      ++used_;
    }
  }

  // Steps behind the last one ask for memory that nobody wants, which does no harm.
  void step(int64_t at) const {
    for (size_t i = 0; i < used_; ++i) __builtin_prefetch(begins_[i] + at * strides_[i]);
  }

 private:
  static constexpr int64_t kLineBytes = 64;

  int64_t steps_ = 1;
  size_t used_ = 0;
  std::array<const char*, 8> begins_{};
  std::array<int64_t, 8> strides_{};
};

}  // namespace tenancy
