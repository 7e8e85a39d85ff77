#include "tenancy/metering/event_hash.h"

#include "tenancy/log/bytes.h"

namespace tenancy::metering {

HashKey EventHash::sender(std::string_view tenant, std::string_view source) {
  joined_.clear();
  log::put(&joined_, uint64_t{tenant.size()});
  joined_ += tenant;
  joined_ += source;
  const Hash128 hash = siphash128(key_, joined_);
  return {hash.low, hash.high};
}

EventHash::Content EventHash::bytes_of(const UsageEvent& event, const BatchWriter::Hashes& hashes) {
  Content parts{};
  log::put(parts.data(), hashes.metric);
  log::put(parts.data() + 8, event.properties ? hashes.properties : 0);
  log::put(parts.data() + 16, event.quantity);
  log::put(parts.data() + 32, event.time_given ? event.time_ns : 0);
  parts[40] = event.time_given ? 1 : 0;
  parts[41] = event.properties ? 1 : 0;
  return parts;
}

uint64_t EventHash::content(const UsageEvent& event, const BatchWriter::Hashes& hashes) const {
  if (event.action == Action::kCancel) return 0;
  const Content bytes = bytes_of(event, hashes);
  const KeyedText text = keyed(bytes);
  return siphash(text.key, text.bytes);
}

}  // namespace tenancy::metering
