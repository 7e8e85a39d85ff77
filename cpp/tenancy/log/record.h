// Records: the bytes of one event, to and from. (LOG_FORMAT.md, 5)
//
// Invariants:
//  1. One event has one encoding; `RecordView::parse` accepts nothing else.
//  2. Absent, null and empty differ. A tenant with an empty id differs from no tenant.
//  3. Parsing reads inside the given bytes only, whatever they are.
//
// Ownership: a RecordView and all it returns point into the bytes it was parsed from. Thread
// safety: plain values.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "tenancy/base/status.h"
#include "tenancy/log/types.h"

namespace tenancy::log {

constexpr size_t kRecordHeadBytes = 40;
constexpr size_t kRecordTailBytes = 116;  // sequence … CRC
constexpr size_t kRecordCrcBytes = 4;
constexpr size_t kRecordBytesMin = kRecordHeadBytes + kRecordTailBytes;
constexpr size_t kRecordBytesMax = size_t{1} << 20;
constexpr size_t kTenantBytesMax = 1024;
constexpr size_t kFieldsMax = 4096;
constexpr size_t kNameBytesMax = 255;
constexpr uint8_t kRecordVersion = 1;
constexpr uint8_t kRecordAlgorithm = 1;
constexpr uint16_t kNoTenant = 0xffff;

enum class FieldId : uint16_t {
  kEventId = 1,
  kType = 2,
  kAction = 3,
  kResource = 4,
  kResourceId = 5,
  kPrincipal = 6,
  kResult = 7,
  kIp = 8,
  kUserAgent = 9,
  kRequestId = 10,
  kSessionId = 11,
  kPolicyRevision = 12,
  kReason = 13,
  kSource = 14,
  kKeyId = 15,
  kMetric = 16,
  kQuantity = 17,
  kUsageBatch = 18,
  kHost = 256,
  kPublicKey = 257,
  kKeyCheck = 258,
  kHeartbeatNs = 259,
  kNextEpoch = 260,
  kBoot = 261,
  kCutSegment = 262,
  kCutOffset = 263,
  kDiscardedBytes = 264,
  kDiscardedHash = 265,
  kRepairReason = 266,
  kCheckpointNumber = 267,
  kCheckpointHash = 268,
  kKeptFrom = 269,
  kStubsHash = 270,
  kSubjectKey = 271,
  kNamed = 65535,
};

// The name by which programs call a field of events: "event_id" … "quantity". Empty for others.
std::string_view event_field_name(FieldId id);
// kNamed for a name that is none of those.
FieldId event_field_id(std::string_view name);

enum class ValueType : uint8_t {
  kNull = 0,
  kBool = 1,
  kInt = 2,
  kUint = 3,
  kText = 4,
  kBytes = 5,
  kJson = 6,
  kUuid = 7,
  kSealed = 8,
};

// A typed value. Numbers and booleans are in `number`, everything else in `bytes`.
struct Value {
  ValueType type = ValueType::kNull;
  std::string_view bytes{};
  uint64_t number = 0;

  static Value null() { return {}; }
  static Value boolean(bool value) { return {ValueType::kBool, {}, value ? 1U : 0U}; }
  static Value integer(int64_t value) {
    return {ValueType::kInt, {}, static_cast<uint64_t>(value)};
  }
  static Value unsigned_integer(uint64_t value) { return {ValueType::kUint, {}, value}; }
  static Value text(std::string_view value) { return {ValueType::kText, value, 0}; }
  static Value blob(std::string_view value) { return {ValueType::kBytes, value, 0}; }
  static Value json(std::string_view value) { return {ValueType::kJson, value, 0}; }
  static Value uuid(std::string_view sixteen_bytes) { return {ValueType::kUuid, sixteen_bytes, 0}; }
  static Value sealed(std::string_view value) { return {ValueType::kSealed, value, 0}; }
};

// A field of an event; `name` is set if and only if `id` is kNamed.
struct Field {
  FieldId id = FieldId::kNamed;
  Value value{};
  std::string_view name{};
  bool personal = false;  // to be sealed with the key of its entry's subject (log.h)
  bool is_utf8 = false;   // whoever made the field has seen that its text and its name are
};

// A value from its type and its bytes, which it points into; false when they have no valid form.
bool read_value(ValueType type, std::string_view bytes, Value* value);
// The bytes of a value; those of a number are put into `*number`.
std::string_view value_bytes(const Value& value, std::array<char, 8>* number);

// What is known of a record before the chain adds its part.
struct RecordDraft {
  Class chain = Class::kOther;
  Kind kind = Kind::kEvent;
  uint32_t epoch = 0;
  LogId log_id{};
  int64_t time_ns = 0;
  std::optional<std::string_view> tenant{};
  const std::array<uint8_t, 16>* event_id = nullptr;  // stands before `fields`, if any
  std::span<const Field> fields{};                    // ascending as LOG_FORMAT.md, 5 says
};

// What the chain adds.
struct ChainPart {
  uint64_t sequence = 0;
  Tag previous{};
  uint64_t tenant_sequence = 0;
  Tag tenant_previous{};
};

// Writes the record without its chain part, tag and CRC to `*out` (replaced), whose size becomes
// the record's. kInvalidArgument names the field that is out of order, twice there, too long or of
// no valid form; text must be UTF-8.
Status encode_record(const RecordDraft& draft, std::string* out);

// Reads fields one after the other; `ok` is false when the bytes were not well-formed.
class FieldCursor {
 public:
  FieldCursor(std::string_view bytes, uint16_t count) : rest_(bytes), left_(count) {}
  // False at the end and at the first field that breaks a rule of LOG_FORMAT.md, 5.
  bool next(Field* field);
  bool ok() const { return ok_; }
  bool at_end() const { return left_ == 0 && rest_.empty(); }

 private:
  std::string_view rest_;
  uint16_t left_;
  bool ok_ = true;
  int32_t last_id_ = -1;
  std::string_view last_name_{};
};

// Why bytes are not a record.
enum class Framing : uint8_t {
  kRecord,
  kEnd,     // zero length, or no bytes: nothing was written here
  kShort,   // longer than what is there
  kLength,  // a length that no record has
  kCrc,
};

class RecordView {
 public:
  // Looks at the length and the CRC of the record that begins at `bytes`; on kRecord, `*view` is
  // set and the lengths inside are known to fit, nothing else.
  static Framing parse(std::string_view bytes, RecordView* view);

  std::string_view bytes() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  uint8_t version() const { return byte(4); }
  uint8_t algorithm() const { return byte(5); }
  uint8_t chain_code() const { return byte(6); }
  Class chain() const { return static_cast<Class>(byte(6)); }
  Kind kind() const { return static_cast<Kind>(byte(7)); }
  uint32_t epoch() const;
  LogId log_id() const;
  int64_t time_ns() const;
  std::optional<std::string_view> tenant() const;
  FieldCursor fields() const;
  uint64_t sequence() const;
  Tag previous() const;
  uint64_t tenant_sequence() const;
  Tag tenant_previous() const;
  Tag tag() const;
  std::string_view maced() const { return bytes_.substr(0, bytes_.size() - 36); }
  std::string_view leaf() const { return bytes_.substr(0, bytes_.size() - kRecordCrcBytes); }

  // Whether tenant and fields keep every rule of LOG_FORMAT.md, 5. Empty when they do, else which.
  // Then `*sealed`, if wanted, is how many of the fields are.
  std::string encoding_fault(uint64_t* sealed = nullptr) const;
  // The first field of that id (not kNamed), or nothing.
  std::optional<Value> find(FieldId id) const;

 private:
  uint8_t byte(size_t at) const { return static_cast<uint8_t>(bytes_[at]); }
  uint16_t tenant_word() const;
  size_t tenant_bytes() const;

  std::string_view bytes_{};
};

}  // namespace tenancy::log
