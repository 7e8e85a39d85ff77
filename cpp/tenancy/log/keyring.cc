#include "tenancy/log/keyring.h"

#include <algorithm>

namespace tenancy::log {

KeyRing::KeyRing(const EpochKey& base) : base_(base), base_epoch_(base.epoch()) {
  epochs_.fill(base.epoch());
  for (size_t i = 0; i < kClasses; ++i) {
    const auto chain = static_cast<Class>(i);
    publish(chain, base_.record_key(chain), base.epoch());
  }
}

KeyRing::~KeyRing() {
  for (Slot& slot : slots_) {
    for (auto& word : slot.states) word.store(0, std::memory_order_relaxed);
  }
}

KeyRing::Read KeyRing::read(Class chain) const {
  Read out;
  out.version = version_.load(std::memory_order_acquire);
  const Slot& slot = slots_[index(chain)];
  out.epoch = static_cast<uint32_t>(slot.epoch.load(std::memory_order_relaxed));
  HmacKey::States states;
  for (size_t i = 0; i < states.size(); ++i) {
    states[i] = slot.states[i].load(std::memory_order_relaxed);
  }
  out.key = HmacKey::from_states(states);
  return out;
}

void KeyRing::publish(Class chain, const HmacKey& key, uint32_t epoch) {
  Slot& slot = slots_[index(chain)];
  for (size_t i = 0; i < slot.states.size(); ++i) {
    slot.states[i].store(key.states()[i], std::memory_order_relaxed);
  }
  slot.epoch.store(epoch, std::memory_order_relaxed);
  epochs_[index(chain)] = epoch;
  version_.fetch_add(1, std::memory_order_release);
}

void KeyRing::follow(Class chain, uint32_t epoch) {
  if (epochs_[index(chain)] == epoch || epoch < base_.epoch()) return;
  publish(chain, base_.at(epoch).record_key(chain), epoch);
  const uint32_t oldest = *std::min_element(epochs_.begin(), epochs_.end());
  while (base_.epoch() < oldest) base_.advance();
  base_epoch_.store(base_.epoch(), std::memory_order_relaxed);
}

FileKey KeyRing::file_key() const { return {base_.epoch(), base_.file_key()}; }

}  // namespace tenancy::log
