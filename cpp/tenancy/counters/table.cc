#include "tenancy/counters/table.h"

#include <cassert>
#include <chrono>
#include <thread>
#include <utility>

#include "tenancy/base/mapped_file.h"
#include "tenancy/counters/core.h"
#include "tenancy/counters/layout.h"
#include "tenancy/counters/step.h"
#include "tenancy/counters/table_file.h"

namespace tenancy {

size_t state_words(SlotClass slot_class) {
  return counters::kShapes[static_cast<size_t>(slot_class)].words;
}

struct CounterTable::Impl {
  Impl(std::unique_ptr<MappedFile> mapped, std::shared_ptr<const Clock> the_clock,
       const Options& options)
      : file(std::move(mapped)),
        clock(std::move(the_clock)),
        core(file.get(), clock.get(),
             {.max_bytes = options.max_bytes,
              .initial_slots = options.initial_slots,
              .is_shared = !options.path.empty()}),
        hash_key{core.header()->hash_key0.load(), core.header()->hash_key1.load()} {}

  const std::unique_ptr<MappedFile> file;
  const std::shared_ptr<const Clock> clock;
  counters::Core<counters::NoStep> core;
  const HashKey hash_key;
};

Result<std::unique_ptr<CounterTable>> CounterTable::open(const Options& options,
                                                         std::shared_ptr<const Clock> clock) {
  assert(clock != nullptr);
  const Result<Options> checked = counters::check_options(options);
  if (!checked) return checked.error();
  auto file = counters::open_table_file(*checked, *clock);
  if (!file) return file.error();
  return std::unique_ptr<CounterTable>(new CounterTable(
      std::make_unique<Impl>(std::move(file).value(), std::move(clock), *checked)));
}

CounterTable::CounterTable(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CounterTable::~CounterTable() = default;

int64_t CounterTable::now_ns() const { return impl_->core.time().now_ns(); }
const Clock& CounterTable::clock() const { return *impl_->clock; }
const HashKey& CounterTable::hash_key() const { return impl_->hash_key; }

Result<SlotRef> CounterTable::find_or_insert(Region region, SlotClass slot_class, uint64_t group,
                                             uint64_t key) {
  return impl_->core.find_or_insert(counters::entry_index(region, slot_class), group, key);
}

SlotRef CounterTable::find(Region region, SlotClass slot_class, uint64_t group, uint64_t key) {
  return impl_->core.find(counters::entry_index(region, slot_class), group, key);
}

void CounterTable::find_group(Region region, SlotClass slot_class, uint64_t group,
                              std::span<const uint64_t> keys, std::span<SlotRef> slots) {
  assert(keys.size() == slots.size());
  impl_->core.find_group(counters::entry_index(region, slot_class), group, keys, slots);
}

CounterTable::Hold::Hold(CounterTable& table)
    : pin_(table.impl_->core.epochs().begin_hold(&outer_)) {}

CounterTable::Hold::~Hold() { counters::Epochs<counters::NoStep>::end_hold(outer_); }

bool CounterTable::wait_for_grace(int64_t wait_ms_max) {
  auto& epochs = impl_->core.epochs();
  if (epochs.is_held_here()) return false;
  const uint64_t from = epochs.now();
  for (int64_t waited_ms = 0; !epochs.grace_passed(from); ++waited_ms) {
    if (waited_ms >= wait_ms_max) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

void CounterTable::prefetch(Region region, SlotClass slot_class, uint64_t group,
                            size_t slots) const {
  impl_->core.prefetch(counters::entry_index(region, slot_class), group, slots);
}

std::atomic<uint64_t>& CounterTable::revision_word() { return impl_->core.header()->revision; }

std::atomic<uint64_t>& CounterTable::shared_word(size_t index) {
  assert(index < counters::kSharedWords);
  return impl_->core.header()->shared[index];
}

CounterTable::ClassStats CounterTable::stats(Region region, SlotClass slot_class) const {
  return impl_->core.stats(counters::entry_index(region, slot_class));
}

size_t CounterTable::bytes() const { return impl_->core.blocks().used_bytes(); }
const std::string& CounterTable::path() const { return impl_->file->path(); }

}  // namespace tenancy
