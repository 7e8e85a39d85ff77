// Row parts: how a long range of rows is shared by threads. Internal: of this layer and the
// bindings.
//
// The parts depend on the number of rows and of threads alone. What is done with a row must not
// depend on the part that it is in: then the answer is the same for every number of threads.
//
// Thread safety: the work runs on as many threads as there are parts, all of which have ended when
// `for_each_part` returns.
#pragma once

#include <algorithm>
#include <cstdint>
#include <thread>
#include <vector>

namespace tenancy {

struct RowParts {
  int64_t rows = 0;
  int64_t count = 1;
  int64_t each = 0;  // rows of all parts but the last

  // Parts begin at multiples of `block`. Below `part_min` rows a thread costs more than it saves.
  static RowParts of(int64_t rows, int64_t part_min, unsigned threads, int64_t block = 1) {
    RowParts parts;
    parts.rows = rows;
    parts.count = std::clamp<int64_t>(rows / part_min, 1, std::max(threads, 1U));
    parts.each = (rows + parts.count - 1) / parts.count;
    parts.each = (parts.each + block - 1) / block * block;
    return parts;
  }
};

// Calls work(part, begin, end) for each part, the first one on this thread. `end` may be `begin`.
template <class Work>
void for_each_part(const RowParts& parts, Work work) {
  const auto run = [&](int64_t part) {
    const int64_t begin = std::min(parts.rows, part * parts.each);
    work(part, begin, std::min(parts.rows, begin + parts.each));
  };
  std::vector<std::thread> others;
  for (int64_t part = 1; part < parts.count; ++part) others.emplace_back(run, part);
  run(0);
  for (std::thread& other : others) other.join();
}

}  // namespace tenancy
