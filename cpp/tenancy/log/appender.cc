#include "tenancy/log/appender.h"

#include <cstring>
#include <memory>
#include <string>

#include "tenancy/log/bytes.h"
#include "tenancy/log/tenant_keys.h"

namespace tenancy::log {

struct Appender::Scratch {
  std::string record;
  TenantKeyCache tenants;
  TenantKey key{};  // of the draft's tenant

  // Outside the thread's static block, of which a module that is loaded late gets little.
  static Scratch& of_thread() {
    thread_local const auto mine = std::make_unique<Scratch>();
    return *mine;
  }
};

namespace {

constexpr size_t kTagTailBytes = sizeof(Tag) + 4;                     // the tag and the CRC
constexpr size_t kChainPartBytes = kRecordTailBytes - kTagTailBytes;  // sequence … previous tag

}  // namespace

Appender::Outcome Appender::append(RecordDraft draft, int64_t wait_ns, Committed* committed,
                                   Status* error) {
  Scratch& scratch = Scratch::of_thread();
  draft.log_id = log_id_;
  if (draft.tenant) scratch.key = scratch.tenants.get(log_id_, draft.chain, *draft.tenant);
  while (true) {
    const KeyRing::Read key = keys_.read(draft.chain);
    draft.epoch = key.epoch;
    *error = encode_record(draft, &scratch.record);
    if (!*error) return Outcome::kRefused;
    ring_.expect(scratch.record.size());
    const std::string_view early =
        std::string_view(scratch.record).substr(0, scratch.record.size() - kRecordTailBytes);
    Hmac hmac(key.key);
    hmac.absorb(early);
    const uint32_t crc = crc32c(early);
    const RingLock lock(ring_, wait_ns);
    if (!lock.held()) return Outcome::kBusy;
    const uint32_t epoch = ring_.epoch(draft.chain);
    if (keys_.version() != key.version || epoch != key.epoch) {
      keys_.follow(draft.chain, epoch);
      continue;  // what was hashed under another key is hashed again
    }
    return commit(draft, scratch, hmac, crc, committed, error);
  }
}

Appender::Outcome Appender::append_locked(RecordDraft draft, Committed* committed, Status* error) {
  Scratch& scratch = Scratch::of_thread();
  draft.log_id = log_id_;
  if (draft.tenant) scratch.key = scratch.tenants.get(log_id_, draft.chain, *draft.tenant);
  draft.epoch = ring_.epoch(draft.chain);
  keys_.follow(draft.chain, draft.epoch);
  *error = encode_record(draft, &scratch.record);
  if (!*error) return Outcome::kRefused;
  const std::string_view early =
      std::string_view(scratch.record).substr(0, scratch.record.size() - kRecordTailBytes);
  Hmac hmac(keys_.read(draft.chain).key);
  hmac.absorb(early);
  return commit(draft, scratch, hmac, crc32c(early), committed, error);
}

Appender::Outcome Appender::commit(const RecordDraft& draft, Scratch& scratch, const Hmac& hmac,
                                   uint32_t crc, Committed* committed, Status* error) {
  std::string& record = scratch.record;
  if (record.size() * 2 > ring_.ring_bytes()) {
    *error = {Code::kInvalidArgument, "the record: expected at most half the ring, " +
                                          std::to_string(ring_.ring_bytes() / 2) + " bytes, got " +
                                          std::to_string(record.size()) +
                                          "; open the log with larger ring_bytes"};
    return Outcome::kRefused;
  }
  if (!ring_.has_room(record.size())) return Outcome::kNoRoom;
  SlotWords* slot = nullptr;
  TenantHead tenant;
  if (draft.tenant) {
    const Result<SlotWords*> found = ring_.tenant_slot(scratch.key);
    if (!found) {
      *error = found.status();
      return Outcome::kRefused;
    }
    slot = *found;
    tenant = tenant_head(*slot);
    ++tenant.sequence;
  }
  ChainState state = ring_.chain(draft.chain);
  committed->position = {draft.chain, state.next_sequence};
  char* const tail = record.data() + record.size() - kRecordTailBytes;
  put(tail, state.next_sequence);
  std::memcpy(tail + 8, state.tag.data(), sizeof(Tag));
  put(tail + 40, tenant.sequence);
  std::memcpy(tail + 48, tenant.tag.data(), sizeof(Tag));
  state.tag = hmac.finish(std::string_view(record).substr(0, record.size() - kTagTailBytes));
  std::memcpy(tail + kChainPartBytes, state.tag.data(), sizeof(Tag));
  put(tail + kRecordTailBytes - 4, crc32c({tail, kRecordTailBytes - 4}, crc));
  ++state.next_sequence;
  if (draft.kind == Kind::kEpoch) ++state.epoch;
  ring_.commit(record, draft.chain, state, slot, tenant.sequence, draft.time_ns);
  if (draft.kind == Kind::kEpoch) keys_.follow(draft.chain, state.epoch);
  committed->end = ring_.tail();
  return Outcome::kDone;
}

}  // namespace tenancy::log
