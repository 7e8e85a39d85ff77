// Batches: usage events of one tenant as the bytes of one field of a record, to and from.
// (LOG_FORMAT.md, 13)
//
// Invariants:
//  1. `BatchReader` accepts only what `BatchWriter` could have written, but for a text that is
//     given twice: events have one encoding each.
//  2. Reading stays inside the given bytes, whatever they are.
//
// Ownership: what a reader returns points into the bytes that it reads. Thread safety: one thread
// at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/base/status.h"
#include "tenancy/log/record.h"
#include "tenancy/metering/usage_event.h"

namespace tenancy::metering {

constexpr size_t kBatchEventsMax = 1024;
// With head, tenant and chain part it fits into half of the smallest ring.
constexpr size_t kBatchBytesMax = size_t{30} << 10;
constexpr uint8_t kBatchVersion = 1;
constexpr size_t kBatchHeadBytes = 4;

class BatchWriter {
 public:
  // Hashes of the texts, by which those that come again are found.
  struct Hashes {
    uint64_t metric = 0;
    uint64_t source = 0;
    uint64_t properties = 0;
  };

  // Begins a batch that is recorded at that time.
  void begin(int64_t recorded_ns);
  // False, and nothing is added, when the batch is full: begin another one. The first event of a
  // batch always fits if it keeps the bounds of usage_event.h.
  bool add(const UsageEvent& event, const Hashes& hashes);

  size_t events() const { return events_; }
  // Of all events so far; valid until the next `begin` or `add`.
  std::string_view bytes();

 private:
  static constexpr size_t kSlots = 4096;  // more than three texts of each event
  struct Slot {
    uint64_t batch = 0;
    uint64_t hash = 0;
    std::string_view text;
    uint32_t position = 0;
  };

  char* put_text(char* to, std::string_view text, uint64_t hash);

  std::vector<char> bytes_;
  char* end_ = nullptr;
  size_t events_ = 0;
  int64_t last_ns_ = 0;
  uint64_t batch_ = 0;  // number of the batch at hand; slots of others are empty
  uint32_t texts_ = 0;
  std::vector<Slot> slots_;
};

class BatchReader {
 public:
  // The batch in a record of the kind `usage`; kDamaged when there is none.
  static Result<BatchReader> of_record(const log::RecordView& record);
  // kDamaged: these bytes are no batch.
  static Result<BatchReader> open(std::string_view bytes, int64_t recorded_ns);

  size_t events() const { return events_; }
  // False at the end, and at what is not well-formed: then `ok` is false.
  bool next(UsageEvent* event);
  bool ok() const { return ok_; }

 private:
  BatchReader(std::string_view rest, size_t events, int64_t recorded_ns)
      : rest_(rest), events_(events), left_(events), last_ns_(recorded_ns) {}
  bool read(UsageEvent* event);
  bool take(size_t bytes, std::string_view* out);
  bool number(Uint128* out);
  bool sized(size_t bytes_max, std::string_view* out);
  bool text(size_t bytes_max, std::string_view* out);
  bool quantity(bool in_units, Int128* out);

  std::string_view rest_;
  size_t events_;
  size_t left_;
  int64_t last_ns_;
  bool ok_ = true;
  std::vector<std::string_view> texts_;
};

}  // namespace tenancy::metering
