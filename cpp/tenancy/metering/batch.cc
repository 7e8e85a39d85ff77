#include "tenancy/metering/batch.h"

#include <cstring>

#include "tenancy/base/utf8.h"
#include "tenancy/log/bytes.h"

namespace tenancy::metering {
namespace {

constexpr uint8_t kActionMask = 3;
constexpr uint8_t kInUnits = 4;
constexpr uint8_t kTimeGiven = 8;
constexpr uint8_t kHasProperties = 16;
constexpr uint8_t kHeadMask = 31;
// What an event takes at most beside its texts: head, three references and lengths, time, quantity,
// length of the id.
constexpr size_t kEventBytesMax = 1 + 3 * 8 + 10 + 19 + 3;

uint64_t zigzag(int64_t value) {
  return static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63);
}
int64_t unzigzag(uint64_t value) { return static_cast<int64_t>(value >> 1 ^ (~(value & 1) + 1)); }
Uint128 zigzag(Int128 value) {
  return static_cast<Uint128>(value) << 1 ^ static_cast<Uint128>(value >> 127);
}
Int128 unzigzag(Uint128 value) { return static_cast<Int128>(value >> 1 ^ (~(value & 1) + 1)); }

// Seven bits in each byte, lowest first; the last one has no high bit.
template <class Number>
char* put_number(char* to, Number value) {
  for (; value >= 128; value >>= 7) *to++ = static_cast<char>(value | 128);
  *to++ = static_cast<char>(value);
  return to;
}

char* put_bytes(char* to, std::string_view bytes) {
  to = put_number(to, uint64_t{bytes.size()});
  if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
  return to + bytes.size();
}

// The whole number that so many units are, if they are one; most quantities are, and small.
bool whole(Int128 units, Int128* value) {
  const Uint128 size = magnitude(units);
  if (size <= UINT64_MAX) {
    const auto small = static_cast<uint64_t>(size);
    if (small % Decimal::kOne != 0) return false;
    const auto found = static_cast<int64_t>(small / Decimal::kOne);
    *value = units < 0 ? -found : found;
    return true;
  }
  *value = units / Decimal::kOne;
  return *value * Decimal::kOne == units;
}

}  // namespace

void BatchWriter::begin(int64_t recorded_ns) {
  if (bytes_.empty()) {
    bytes_.resize(kBatchBytesMax);
    slots_.resize(kSlots);
  }
  bytes_[0] = static_cast<char>(kBatchVersion);
  bytes_[1] = 0;
  end_ = bytes_.data() + kBatchHeadBytes;
  events_ = 0;
  last_ns_ = recorded_ns;
  texts_ = 0;
  ++batch_;
}

char* BatchWriter::put_text(char* to, std::string_view text, uint64_t hash) {
  for (size_t i = hash % kSlots;; i = (i + 1) % kSlots) {
    Slot& slot = slots_[i];
    if (slot.batch != batch_) {
      to = put_number(to, uint64_t{texts_});
      slot = {batch_, hash, text, texts_++};
      return put_bytes(to, text);
    }
    if (slot.hash == hash && slot.text == text) return put_number(to, uint64_t{slot.position});
  }
}

bool BatchWriter::add(const UsageEvent& event, const Hashes& hashes) {
  const std::string_view properties = event.properties.value_or(std::string_view());
  const size_t most = kEventBytesMax + event.id.size() + event.metric.size() + event.source.size() +
                      properties.size();
  const auto used = static_cast<size_t>(end_ - bytes_.data());
  if (events_ == kBatchEventsMax || used + most > kBatchBytesMax) return false;
  Int128 quantity = 0;
  const bool is_whole = whole(event.quantity, &quantity);
  if (!is_whole) quantity = event.quantity;
  char* to = end_;
  *to++ = static_cast<char>(static_cast<uint8_t>(event.action) | (is_whole ? 0 : kInUnits) |
                            (event.time_given ? kTimeGiven : 0) |
                            (event.properties ? kHasProperties : 0));
  to = put_text(to, event.metric, hashes.metric);
  to = put_text(to, event.source, hashes.source);
  if (event.properties) to = put_text(to, properties, hashes.properties);
  const uint64_t later = static_cast<uint64_t>(event.time_ns) - static_cast<uint64_t>(last_ns_);
  to = put_number(to, zigzag(static_cast<int64_t>(later)));
  const Uint128 coded = zigzag(quantity);
  to = coded <= UINT64_MAX ? put_number(to, static_cast<uint64_t>(coded)) : put_number(to, coded);
  end_ = put_bytes(to, event.id);
  last_ns_ = event.time_ns;
  ++events_;
  return true;
}

std::string_view BatchWriter::bytes() {
  log::put(bytes_.data() + 2, static_cast<uint16_t>(events_));
  return {bytes_.data(), static_cast<size_t>(end_ - bytes_.data())};
}

Result<BatchReader> BatchReader::of_record(const log::RecordView& record) {
  const std::optional<log::Value> value = record.find(log::FieldId::kUsageBatch);
  if (!value || value->type != log::ValueType::kBytes || !record.tenant()) {
    return Error{Code::kDamaged, "record " + std::to_string(record.sequence()) +
                                     " of the chain usage holds no batch; run: tenancy audit "
                                     "verify"};
  }
  return open(value->bytes, record.time_ns());
}

Result<BatchReader> BatchReader::open(std::string_view bytes, int64_t recorded_ns) {
  if (bytes.size() < kBatchHeadBytes) {
    return Error{Code::kDamaged, "a batch of usage has at least 4 bytes"};
  }
  const auto version = static_cast<uint8_t>(bytes[0]);
  if (version != kBatchVersion) {
    return Error{Code::kVersion, "expected a batch of usage of version 1, got " +
                                     std::to_string(version) +
                                     ": written by a newer release; update this one"};
  }
  const auto events = log::get<uint16_t>(bytes.data() + 2);
  if (bytes[1] != 0 || events == 0 || events > kBatchEventsMax)
    return Error{Code::kDamaged, "no head of a batch of usage"};
  return BatchReader(bytes.substr(kBatchHeadBytes), events, recorded_ns);
}

bool BatchReader::next(UsageEvent* event) {
  if (!ok_) return false;
  if (left_ == 0) {
    ok_ = rest_.empty();
    return false;
  }
  --left_;
  ok_ = read(event);
  return ok_;
}

bool BatchReader::read(UsageEvent* event) {
  std::string_view part;
  if (!take(1, &part)) return false;
  const auto head = static_cast<uint8_t>(part[0]);
  if (head > kHeadMask || (head & kActionMask) >= kActions) return false;
  event->action = static_cast<Action>(head & kActionMask);
  event->time_given = (head & kTimeGiven) != 0;
  event->properties.reset();
  if (!text(kMetricBytesMax, &event->metric) || event->metric.empty()) return false;
  if (!text(kSourceBytesMax, &event->source)) return false;
  if ((head & kHasProperties) != 0) {
    if (!text(kPropertiesBytesMax, &part) || part.empty()) return false;
    event->properties = part;
  }
  Uint128 later = 0;
  if (!number(&later) || later > UINT64_MAX) return false;
  event->time_ns =
      static_cast<int64_t>(static_cast<uint64_t>(last_ns_) +
                           static_cast<uint64_t>(unzigzag(static_cast<uint64_t>(later))));
  last_ns_ = event->time_ns;
  if (!quantity((head & kInUnits) != 0, &event->quantity)) return false;
  return sized(kIdBytesMax, &event->id) && !event->id.empty() && is_utf8(event->id);
}

bool BatchReader::take(size_t bytes, std::string_view* out) {
  if (bytes > rest_.size()) return false;
  *out = rest_.substr(0, bytes);
  rest_.remove_prefix(bytes);
  return true;
}

bool BatchReader::number(Uint128* out) {
  constexpr size_t kBytesMax = 19;  // 128 bits
  Uint128 value = 0;
  for (size_t i = 0; i < kBytesMax && i < rest_.size(); ++i) {
    const auto byte = static_cast<uint8_t>(rest_[i]);
    if (i == kBytesMax - 1 && byte > 3) return false;
    value |= Uint128{byte & 127U} << (7 * i);
    if (byte >= 128) continue;
    if (byte == 0 && i > 0) return false;  // there is a shorter form
    rest_.remove_prefix(i + 1);
    *out = value;
    return true;
  }
  return false;
}

bool BatchReader::sized(size_t bytes_max, std::string_view* out) {
  Uint128 bytes = 0;
  return number(&bytes) && bytes <= bytes_max && take(static_cast<size_t>(bytes), out);
}

bool BatchReader::text(size_t bytes_max, std::string_view* out) {
  Uint128 position = 0;
  if (!number(&position) || position > texts_.size()) return false;
  if (position < texts_.size()) {
    *out = texts_[static_cast<size_t>(position)];
    return out->size() <= bytes_max;
  }
  if (!sized(bytes_max, out) || !is_utf8(*out)) return false;
  texts_.push_back(*out);
  return true;
}

bool BatchReader::quantity(bool in_units, Int128* out) {
  Uint128 coded = 0;
  if (!number(&coded)) return false;
  *out = unzigzag(coded);
  Int128 value = 0;
  if (in_units) {
    if (whole(*out, &value)) return false;  // there is a shorter form
  } else if (__builtin_mul_overflow(*out, Int128{Decimal::kOne}, out)) {
    return false;
  }
  return Decimal::from_units(*out).has_value();
}

}  // namespace tenancy::metering
