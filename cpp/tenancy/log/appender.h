// Appender: turns drafts into committed records of the ring. Internal. (LOG_FORMAT.md, 9.2)
//
// Thread safety: all methods from any thread.
#pragma once

#include <cstdint>

#include "tenancy/base/status.h"
#include "tenancy/log/keyring.h"
#include "tenancy/log/record.h"
#include "tenancy/log/ring.h"

namespace tenancy::log {

struct Committed {
  Position position{};
  uint64_t end = 0;  // of the record, in bytes of the ring
};

class Appender {
 public:
  Appender(Ring& ring, KeyRing& keys, const LogId& log_id)
      : ring_(ring), keys_(keys), log_id_(log_id) {}

  enum class Outcome : uint8_t { kDone, kNoRoom, kBusy, kRefused };
  // One try. kNoRoom: the ring is full. kBusy: the mutex was not free within `wait_ns`. kRefused:
  // see
  // `*error`. `draft` needs no epoch and no log id.
  Outcome append(RecordDraft draft, int64_t wait_ns, Committed* committed, Status* error);

  // Under the ring's mutex. `draft.kind` kEpoch moves the chain on.
  Outcome append_locked(RecordDraft draft, Committed* committed, Status* error);

 private:
  struct Scratch;
  Outcome commit(const RecordDraft& draft, Scratch& scratch, const Hmac& hmac, uint32_t crc,
                 Committed* committed, Status* error);

  Ring& ring_;
  KeyRing& keys_;
  const LogId log_id_;
};

}  // namespace tenancy::log
