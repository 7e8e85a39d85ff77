// VerifyKeys: every key of a log, derived from its verification key on demand. Internal.
//
// Thread safety: one thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "tenancy/log/keys.h"
#include "tenancy/log/segment.h"

namespace tenancy::log {

class VerifyKeys {
 public:
  // Nobody is led to derive for hours by a number in a file: epochs of one hour for a century.
  static constexpr uint32_t kEpochMax = 1U << 20;

  explicit VerifyKeys(const EpochKey& first) : keys_{first} {}

  const LogId& log_id() const { return keys_.front().log_id(); }
  std::array<uint8_t, 16> check() const { return keys_.front().check(); }

  // Null beyond kEpochMax. Valid as long as this object.
  const HmacKey* record_key(Class chain, uint32_t epoch) {
    return cached(static_cast<unsigned>(index(chain)), epoch);
  }
  const HmacKey* file_key(uint32_t epoch) { return cached(kClasses, epoch); }
  bool is_ours(const BlockView& block) {
    const HmacKey* const key = block.log_id == log_id() ? file_key(block.epoch) : nullptr;
    return key != nullptr && block.mac_is(*key);
  }

 private:
  const HmacKey* cached(unsigned which, uint32_t epoch) {
    if (epoch > kEpochMax) return nullptr;
    while (keys_.size() <= epoch) {
      keys_.push_back(keys_.back());
      keys_.back().advance();
    }
    const auto [at, added] = cache_.try_emplace({epoch, which});
    if (added) {
      at->second = which == kClasses ? keys_[epoch].file_key()
                                     : keys_[epoch].record_key(static_cast<Class>(which));
    }
    return &at->second;
  }

  std::vector<EpochKey> keys_;  // by epoch
  std::map<std::pair<uint32_t, unsigned>, HmacKey> cache_;
};

}  // namespace tenancy::log
