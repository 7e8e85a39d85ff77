// Any bytes as a batch of usage events: reading stays inside them, and what is accepted comes out
// again when it is written.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string_view>
#include <vector>

#include "tenancy/metering/batch.h"

using namespace tenancy;
using namespace tenancy::metering;

namespace {

constexpr int64_t kRecordedNs = 1'750'000'000'000'000'000;

std::vector<UsageEvent> read(std::string_view bytes, bool* ok) {
  std::vector<UsageEvent> events;
  Result<BatchReader> reader = BatchReader::open(bytes, kRecordedNs);
  *ok = reader.ok();
  if (!reader) return events;
  UsageEvent event;
  while (reader->next(&event)) events.push_back(event);
  *ok = reader->ok();
  if (*ok && events.size() != reader->events()) std::abort();
  return events;
}

uint64_t hash(std::string_view text) { return std::hash<std::string_view>()(text); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  bool ok = false;
  const std::vector<UsageEvent> events = read(bytes, &ok);
  if (!ok) return 0;
  BatchWriter writer;
  writer.begin(kRecordedNs);
  for (const UsageEvent& event : events) {
    const BatchWriter::Hashes hashes{hash(event.metric), hash(event.source),
                                     hash(event.properties.value_or(std::string_view()))};
    if (!writer.add(event, hashes)) return 0;  // more than a writer puts into one
  }
  // Shorter where a text was given twice; the same events in any case.
  if (writer.bytes().size() > size) std::abort();
  bool again = false;
  if (read(writer.bytes(), &again) != events || !again) std::abort();
  return 0;
}
