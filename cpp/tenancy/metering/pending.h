// Pending: the ids of the batch that is being written, before they are in the index. Internal to
// this layer.
//
// Thread safety: one thread.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "tenancy/base/hash.h"
#include "tenancy/metering/batch.h"
#include "tenancy/metering/id_table.h"

namespace tenancy::metering {

class Pending {
 public:
  struct Entry {
    Hash128 id{};
    IdEntry entry{};
  };

  const std::vector<Entry>& entries() const { return entries_; }
  void clear() {
    entries_.clear();
    ++batch_;
  }
  // At most a batch.
  void add(const Hash128& id, const IdEntry& entry) {
    entries_.push_back({id, entry});
    size_t i = id.low % kSlots;
    while (slots_[i].batch == batch_) i = (i + 1) % kSlots;
    slots_[i] = {batch_, static_cast<uint32_t>(entries_.size() - 1)};
  }
  // Appends the entries of that id in their order.
  void find(const Hash128& id, std::vector<IdEntry>* out) const {
    for (size_t i = id.low % kSlots; slots_[i].batch == batch_; i = (i + 1) % kSlots) {
      const Entry& each = entries_[slots_[i].entry];
      if (each.id == id) out->push_back(each.entry);
    }
  }

 private:
  static constexpr size_t kSlots = 2 * kBatchEventsMax;
  struct Slot {
    uint64_t batch = 0;  // slots of other batches are empty
    uint32_t entry = 0;
  };

  std::vector<Entry> entries_;
  uint64_t batch_ = 1;
  std::array<Slot, kSlots> slots_{};
};

}  // namespace tenancy::metering
