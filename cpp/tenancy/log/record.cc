#include "tenancy/log/record.h"

#include <cstring>
#include <unordered_map>

#include "tenancy/base/utf8.h"
#include "tenancy/log/bytes.h"

namespace tenancy::log {
namespace {

constexpr size_t kSealedBytesMin = 16 + 12 + 1 + 16;

bool is_number(ValueType type) {
  return type == ValueType::kBool || type == ValueType::kInt || type == ValueType::kUint;
}

// What is wrong with a value of that type and these bytes; null when nothing is.
const char* value_fault(ValueType type, std::string_view bytes) {
  switch (type) {
    case ValueType::kNull: return bytes.empty() ? nullptr : "null has bytes";
    case ValueType::kBool:
      return bytes.size() == 1 && static_cast<uint8_t>(bytes[0]) <= 1 ? nullptr
                                                                      : "not 0 or 1 in one byte";
    case ValueType::kInt:
    case ValueType::kUint: return bytes.size() == 8 ? nullptr : "not 8 bytes";
    case ValueType::kText:
    case ValueType::kJson: return is_utf8(bytes) ? nullptr : "not UTF-8";
    case ValueType::kBytes: return nullptr;
    case ValueType::kUuid: return bytes.size() == 16 ? nullptr : "not 16 bytes";
    case ValueType::kSealed: return bytes.size() >= kSealedBytesMin ? nullptr : "too short";
  }
  return "of an unknown type";
}

std::string field_name(const Field& field) {
  if (field.id != FieldId::kNamed) {
    return "field " + std::to_string(static_cast<unsigned>(field.id));
  }
  std::string shown;
  for (const char c : field.name.substr(0, 40)) shown += c >= ' ' && c <= '~' ? c : '?';
  return "field \"" + shown + "\"";
}

Status refuse(const Field& field, const std::string& what) {
  return {Code::kInvalidArgument, field_name(field) + ": " + what};
}

// Whether `field` may come after what came before.
bool ascends(const Field& field, int32_t last_id, std::string_view last_name) {
  const auto id = static_cast<int32_t>(field.id);
  if (field.id != FieldId::kNamed || last_id != id) return id > last_id;
  return field.name > last_name;
}

constexpr size_t kFieldHeadBytes = 2 + 1 + 4;  // id, type, length
constexpr size_t kNameHeadBytes = 2;
constexpr size_t kUuidBytes = 16;

size_t value_size(const Value& value) {
  if (!is_number(value.type)) return value.bytes.size();
  return value.type == ValueType::kBool ? 1 : 8;
}

// Why the field may not be recorded, whatever its size; null when it may.
const char* field_fault(const Field& field) {
  if (field.id == FieldId::kNamed) {
    const bool fits = !field.name.empty() && field.name.size() <= kNameBytesMax;
    if (!fits || !(field.is_utf8 || is_utf8(field.name))) {
      return "expected a name of 1 to 255 bytes of UTF-8";
    }
  } else if (field.id == FieldId{0}) {
    return "0 is no field id";
  } else if (!field.name.empty()) {
    return "only field 65535 has a name";
  }
  if (field.is_utf8 && field.value.type == ValueType::kText) return nullptr;
  std::array<char, 8> number;
  return value_fault(field.value.type, value_bytes(field.value, &number));
}

// Of all fields, so that the record is written into room that is there.
Status measure_fields(const RecordDraft& draft, size_t* total) {
  if (draft.event_id != nullptr) *total += kFieldHeadBytes + kUuidBytes;
  for (const Field& field : draft.fields) {
    const size_t bytes = value_size(field.value);
    if (bytes > kRecordBytesMax) {
      return refuse(field, "expected less than 1 MiB, got " + std::to_string(bytes) +
                               " bytes; store it elsewhere and log its hash");
    }
    *total += kFieldHeadBytes + bytes;
    if (!field.name.empty()) *total += kNameHeadBytes + field.name.size();
  }
  return {};
}

template <size_t kBytes>
void copy_ends(char* to, const char* from, size_t bytes) {
  std::memcpy(to, from, kBytes);
  std::memcpy(to + bytes - kBytes, from + bytes - kBytes, kBytes);
}

// Most values are short, and a call of memcpy takes longer than copying them.
void copy_short(char* to, const char* from, size_t bytes) {
  if (bytes > 32) {
    std::memcpy(to, from, bytes);
  } else if (bytes >= 16) {
    copy_ends<16>(to, from, bytes);
  } else if (bytes >= 8) {
    copy_ends<8>(to, from, bytes);
  } else if (bytes >= 4) {
    copy_ends<4>(to, from, bytes);
  } else if (bytes >= 2) {
    copy_ends<2>(to, from, bytes);
  } else if (bytes == 1) {
    *to = *from;
  }
}

// Writes one after the other into memory that was measured before.
class Pen {
 public:
  explicit Pen(char* at) : at_(at) {}
  template <class Number>
  void number(Number value) {
    put(at_, value);
    at_ += sizeof value;
  }
  void bytes(std::string_view bytes) {
    copy_short(at_, bytes.data(), bytes.size());
    at_ += bytes.size();
  }
  void field(const Field& field) {
    number(static_cast<uint16_t>(field.id));
    number(static_cast<uint8_t>(field.value.type));
    if (field.id == FieldId::kNamed) {
      number(static_cast<uint16_t>(field.name.size()));
      bytes(field.name);
    }
    std::array<char, 8> digits;
    const std::string_view value = value_bytes(field.value, &digits);
    number(static_cast<uint32_t>(value.size()));
    bytes(value);
  }

 private:
  char* at_;
};

// In the order in which they stand.
Status write_fields(const RecordDraft& draft, Pen* pen) {
  int32_t last_id = -1;
  std::string_view last_name;
  if (draft.event_id != nullptr) {
    last_id = static_cast<int32_t>(FieldId::kEventId);
    pen->field({FieldId::kEventId, Value::uuid(view_of(*draft.event_id)), {}});
  }
  for (const Field& field : draft.fields) {
    if (!ascends(field, last_id, last_name)) {
      return refuse(field, "comes twice or out of order; fields ascend by id, named ones by name");
    }
    if (const char* fault = field_fault(field)) return refuse(field, fault);
    pen->field(field);
    last_id = static_cast<int32_t>(field.id);
    last_name = field.name;
  }
  return {};
}

// Of the fields 1, 2, …
constexpr std::array<std::string_view, 17> kEventFieldNames = {
    "event_id", "type",   "action",     "resource",   "resource_id", "principal",
    "result",   "ip",     "user_agent", "request_id", "session_id",  "policy_revision",
    "reason",   "source", "key_id",     "metric",     "quantity"};

}  // namespace

std::string_view event_field_name(FieldId id) {
  const auto number = static_cast<size_t>(id);
  return number >= 1 && number <= kEventFieldNames.size() ? kEventFieldNames[number - 1]
                                                          : std::string_view();
}

FieldId event_field_id(std::string_view name) {
  static const std::unordered_map<std::string_view, FieldId> ids = [] {
    std::unordered_map<std::string_view, FieldId> made;
    for (size_t i = 0; i < kEventFieldNames.size(); ++i) {
      made.emplace(kEventFieldNames[i], static_cast<FieldId>(i + 1));
    }
    return made;
  }();
  const auto found = ids.find(name);
  return found == ids.end() ? FieldId::kNamed : found->second;
}

bool read_value(ValueType type, std::string_view bytes, Value* value) {
  if (value_fault(type, bytes) != nullptr) return false;
  value->type = type;
  value->bytes = bytes;
  value->number = 0;
  if (type == ValueType::kBool) {
    value->number = static_cast<uint8_t>(bytes[0]);
  } else if (is_number(type)) {
    value->number = get<uint64_t>(bytes.data());
  }
  return true;
}

std::string_view value_bytes(const Value& value, std::array<char, 8>* number) {
  if (!is_number(value.type)) return value.bytes;
  put(number->data(), value.number);
  return {number->data(), value.type == ValueType::kBool ? size_t{1} : size_t{8}};
}

Status encode_record(const RecordDraft& draft, std::string* out) {
  if (index(draft.chain) >= kClasses) {
    return {Code::kInvalidArgument, "expected a class from 0 to 3"};
  }
  const size_t count = draft.fields.size() + (draft.event_id != nullptr ? 1 : 0);
  if (count > kFieldsMax) {
    return {Code::kInvalidArgument, "expected at most 4096 fields, got " + std::to_string(count)};
  }
  const std::string_view tenant = draft.tenant.value_or(std::string_view());
  if (tenant.size() > kTenantBytesMax || !is_utf8(tenant)) {
    return {Code::kInvalidArgument, "tenant: expected at most 1024 bytes of UTF-8, got " +
                                        std::to_string(tenant.size()) + " bytes"};
  }
  size_t total = kRecordHeadBytes + tenant.size() + kRecordTailBytes;
  if (Status status = measure_fields(draft, &total); !status) return status;
  if (total > kRecordBytesMax) {
    return {Code::kInvalidArgument,
            "the record: expected at most 1 MiB, got " + std::to_string(total) + " bytes"};
  }
  out->resize(total);
  Pen pen(out->data());
  pen.number(static_cast<uint32_t>(total));
  pen.number(kRecordVersion);
  pen.number(kRecordAlgorithm);
  pen.number(static_cast<uint8_t>(draft.chain));
  pen.number(static_cast<uint8_t>(draft.kind));
  pen.number(draft.epoch);
  pen.number(draft.tenant ? static_cast<uint16_t>(tenant.size()) : kNoTenant);
  pen.number(static_cast<uint16_t>(count));
  pen.bytes(view_of(draft.log_id));
  pen.number(draft.time_ns);
  pen.bytes(tenant);
  if (Status status = write_fields(draft, &pen); !status) return status;
  std::memset(out->data() + total - kRecordTailBytes, 0, kRecordTailBytes);
  return {};
}

bool FieldCursor::next(Field* field) {
  if (left_ == 0 || !ok_) return false;
  --left_;
  ok_ = false;
  if (rest_.size() < kFieldHeadBytes) return false;
  field->id = static_cast<FieldId>(get<uint16_t>(rest_.data()));
  const auto type = static_cast<ValueType>(rest_[2]);
  field->name = {};
  field->personal = false;
  field->is_utf8 = false;
  size_t at = 3;
  if (field->id == FieldId::kNamed) {
    const auto bytes = get<uint16_t>(rest_.data() + at);
    at += kNameHeadBytes;
    if (bytes == 0 || bytes > kNameBytesMax || at + bytes + 4 > rest_.size()) return false;
    field->name = rest_.substr(at, bytes);
    if (!is_utf8(field->name)) return false;
    at += bytes;
  }
  const size_t bytes = get<uint32_t>(rest_.data() + at);
  at += 4;
  if (bytes > rest_.size() - at) return false;
  if (field->id == FieldId{0} || !ascends(*field, last_id_, last_name_)) return false;
  if (!read_value(type, rest_.substr(at, bytes), &field->value)) return false;
  rest_.remove_prefix(at + bytes);
  last_id_ = static_cast<int32_t>(field->id);
  last_name_ = field->name;
  ok_ = true;
  return true;
}

Framing RecordView::parse(std::string_view bytes, RecordView* view) {
  if (bytes.size() < 4) {
    return bytes.find_first_not_of('\0') == std::string_view::npos ? Framing::kEnd
                                                                   : Framing::kShort;
  }
  const auto length = get<uint32_t>(bytes.data());
  if (length == 0) return Framing::kEnd;
  if (length < kRecordBytesMin || length > kRecordBytesMax) return Framing::kLength;
  if (length > bytes.size()) return Framing::kShort;
  view->bytes_ = bytes.substr(0, length);
  if (kRecordHeadBytes + view->tenant_bytes() + kRecordTailBytes > length) {
    return Framing::kLength;
  }
  const auto crc = get<uint32_t>(bytes.data() + length - 4);
  return crc == crc32c(bytes.substr(0, length - 4)) ? Framing::kRecord : Framing::kCrc;
}

uint16_t RecordView::tenant_word() const { return get<uint16_t>(bytes_.data() + 12); }

size_t RecordView::tenant_bytes() const { return tenant_word() == kNoTenant ? 0 : tenant_word(); }

uint32_t RecordView::epoch() const { return get<uint32_t>(bytes_.data() + 8); }
LogId RecordView::log_id() const { return get_bytes<LogId>(bytes_.data() + 16); }
int64_t RecordView::time_ns() const { return get<int64_t>(bytes_.data() + 32); }

std::optional<std::string_view> RecordView::tenant() const {
  if (tenant_word() == kNoTenant) return std::nullopt;
  return bytes_.substr(kRecordHeadBytes, tenant_bytes());
}

FieldCursor RecordView::fields() const {
  const size_t from = kRecordHeadBytes + tenant_bytes();
  return {bytes_.substr(from, size() - kRecordTailBytes - from), get<uint16_t>(bytes_.data() + 14)};
}

uint64_t RecordView::sequence() const { return get<uint64_t>(bytes_.data() + size() - 116); }
Tag RecordView::previous() const { return get_bytes<Tag>(bytes_.data() + size() - 108); }
uint64_t RecordView::tenant_sequence() const { return get<uint64_t>(bytes_.data() + size() - 76); }
Tag RecordView::tenant_previous() const { return get_bytes<Tag>(bytes_.data() + size() - 68); }
Tag RecordView::tag() const { return get_bytes<Tag>(bytes_.data() + size() - 36); }

std::string RecordView::encoding_fault(uint64_t* sealed) const {
  const std::optional<std::string_view> id = tenant();
  if (id && (id->size() > kTenantBytesMax || !is_utf8(*id))) return "the tenant's id";
  FieldCursor cursor = fields();
  Field field;
  unsigned number = 0;
  uint64_t closed = 0;
  while (cursor.next(&field)) {
    ++number;
    closed += field.value.type == ValueType::kSealed ? 1 : 0;
  }
  if (sealed != nullptr) *sealed = closed;
  if (!cursor.ok()) return "field number " + std::to_string(number + 1);
  return cursor.at_end() ? std::string() : "bytes behind the last field";
}

std::optional<Value> RecordView::find(FieldId id) const {
  FieldCursor cursor = fields();
  Field field;
  while (cursor.next(&field)) {
    if (field.id == id) return field.value;
    if (static_cast<uint16_t>(field.id) > static_cast<uint16_t>(id)) break;
  }
  return std::nullopt;
}

}  // namespace tenancy::log
