// Settled: what of the index of ids is durable. The file `settled`; internal to this layer.
// (FORMATS.md, 4.3)
//
// Thread safety: plain values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/base/hash.h"
#include "tenancy/base/status.h"
#include "tenancy/log/types.h"

namespace tenancy::metering {

struct Settled {
  struct Table {
    uint64_t number = 0;
    unsigned slots_log2 = 0;
    int64_t last_ns = 0;
  };

  log::LogId log_id{};
  HashKey key{};
  int64_t window_ns = 0;
  uint64_t end = 0;  // entries of records below it are durable
  std::vector<Table> tables{};

  std::string bytes() const;
  // kForeign, kVersion, kDamaged.
  static Result<Settled> parse(std::string_view bytes);
};

}  // namespace tenancy::metering
