#include "tenancy/metering/catch_up.h"

#include <algorithm>
#include <string>
#include <vector>

#include "tenancy/log/reader.h"
#include "tenancy/log/segment_files.h"
#include "tenancy/metering/batch.h"
#include "tenancy/metering/event_hash.h"

namespace tenancy::metering {
namespace {

using log::Class;
using log::Files;

Result<int64_t> first_time(const std::string& directory, uint64_t sequence) {
  Result<std::unique_ptr<log::Reader>> reader =
      log::Reader::open(Files::system(), directory, Class::kUsage, sequence);
  if (!reader) return reader.status();
  log::RecordView record;
  const Result<bool> found = (*reader)->next(&record);
  if (!found) return found.status();
  return *found ? record.time_ns() : INT64_MAX;
}

// The segment in which the window begins: the last one whose first record is older.
Result<uint64_t> window_start(const std::string& directory, uint64_t least, int64_t since_ns) {
  const Result<std::vector<log::SegmentSpan>> segments =
      log::segments_of(Files::system(), directory, Class::kUsage);
  if (!segments) return segments.status();
  uint64_t start = least;
  for (auto segment = segments->rbegin(); segment != segments->rend(); ++segment) {
    if (segment->pruned) break;
    start = std::max(segment->first, least);
    if (segment->first <= least) break;
    const Result<int64_t> began = first_time(directory, segment->first);
    if (!began) return began.status();
    if (*began < since_ns) break;
  }
  return start;
}

Status add_record(const log::RecordView& record, EventHash& hash, IdIndex& index) {
  Result<BatchReader> batch = BatchReader::of_record(record);
  if (!batch) return batch.status();
  if (Status status = index.make_room(batch->events(), record.time_ns()); !status) return status;
  UsageEvent event;
  std::string_view source;
  HashKey sender = hash.sender(*record.tenant(), source);
  Place place{record.sequence(), 0, Action::kRecord};
  for (; batch->next(&event); ++place.number) {
    if (event.source != source) {
      source = event.source;
      sender = hash.sender(*record.tenant(), source);
    }
    const Hash128 id = EventHash::id(sender, event.id);
    place.action = event.action;
    if (index.contains(id, place)) continue;
    const BatchWriter::Hashes texts{hash.text(event.metric), 0,
                                    hash.text(event.properties.value_or(std::string_view()))};
    index.add(id, {hash.content(event, texts), place}, record.time_ns());
  }
  if (batch->ok()) return {};
  return {Code::kDamaged, "record " + std::to_string(record.sequence()) +
                              " of the chain usage holds no batch; run: tenancy audit verify"};
}

}  // namespace

Status catch_up(log::Log& log, IdIndex& index, int64_t now_ns) {
  const uint64_t end = log.position(Class::kUsage);
  if (Status status = log.flush(log::Ack::kDisk); !status) return status;
  const std::string& directory = log.log_directory();
  const int64_t since_ns = now_ns - index.window_ns();
  const Result<uint64_t> start = window_start(directory, index.position(), since_ns);
  if (!start) return start.status();
  if (*start < end) {
    Result<std::unique_ptr<log::Reader>> reader =
        log::Reader::open(Files::system(), directory, Class::kUsage, *start);
    if (!reader) return reader.status();
    EventHash hash(index.key());
    while ((*reader)->position() < end) {
      log::RecordView record;
      const Result<bool> found = (*reader)->next(&record);
      if (!found) return found.status();
      if (!*found) return {Code::kIo, directory + ": what was synced cannot be read yet"};
      if (record.kind() != log::Kind::kUsage || record.time_ns() < since_ns) continue;
      if (Status status = add_record(record, hash, index); !status) return status;
    }
  }
  index.caught_up(end);
  return {};
}

}  // namespace tenancy::metering
