#include "log_fields.h"

#include <algorithm>
#include <array>
#include <utility>

#include "canonical_json.h"

namespace tenancy {
namespace {

using log::FieldId;
using log::Value;

constexpr std::array<std::pair<std::string_view, FieldId>, 16> kOwnFields = {{
    {"host", FieldId::kHost},
    {"public_key", FieldId::kPublicKey},
    {"key_check", FieldId::kKeyCheck},
    {"heartbeat_ns", FieldId::kHeartbeatNs},
    {"next_epoch", FieldId::kNextEpoch},
    {"boot", FieldId::kBoot},
    {"cut_segment", FieldId::kCutSegment},
    {"cut_offset", FieldId::kCutOffset},
    {"discarded_bytes", FieldId::kDiscardedBytes},
    {"discarded_hash", FieldId::kDiscardedHash},
    {"repair_reason", FieldId::kRepairReason},
    {"checkpoint_number", FieldId::kCheckpointNumber},
    {"checkpoint_hash", FieldId::kCheckpointHash},
    {"kept_from", FieldId::kKeptFrom},
    {"stubs_hash", FieldId::kStubsHash},
    {"subject_key", FieldId::kSubjectKey},
}};

// As utf8_view, at once for most texts.
std::string_view text_view(PyObject* text) {
  if (PyUnicode_Check(text) && PyUnicode_IS_COMPACT_ASCII(text)) {
    return {reinterpret_cast<const char*>(PyUnicode_1BYTE_DATA(text)),
            static_cast<size_t>(PyUnicode_GET_LENGTH(text))};
  }
  return utf8_view(text);
}

[[noreturn]] void refuse(std::string_view name, const std::string& what) {
  std::string shown(name.substr(0, 60));
  while (!shown.empty() && (static_cast<uint8_t>(name[shown.size() - 1]) & 0xc0) == 0x80 &&
         shown.size() < name.size()) {
    shown.pop_back();  // no half character
  }
  raise_error({Code::kInvalidArgument, "fields[\"" + shown + "\"]: " + what});
}

[[noreturn]] void refuse_type(std::string_view name, const char* expected,
                              const py::handle& value) {
  throw py::type_error("fields[\"" + std::string(name) + "\"]: expected " + expected + ", got " +
                       std::string(Py_TYPE(value.ptr())->tp_name));
}

// The 16 bytes of "0190163d-8694-739b-aea5-966c26f8ad91"; nothing else is given back as the same
// text.
std::string uuid_bytes(std::string_view text) {
  const auto fail = [&] {
    refuse("event_id",
           "expected a UUID like 0190163d-8694-739b-aea5-966c26f8ad91 in lower case, "
           "got " +
               std::to_string(text.size()) + " bytes of other text");
  };
  std::string out;
  if (text.size() != 36) fail();
  int high = -1;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (c != '-') fail();
      continue;
    }
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) fail();
    if (high < 0) {
      high = digit;
    } else {
      out.push_back(static_cast<char>(high * 16 + digit));
      high = -1;
    }
  }
  return out;
}

Value number_of(std::string_view name, const py::handle& value, bool is_unsigned) {
  int overflow = 0;
  const long long number = PyLong_AsLongLongAndOverflow(value.ptr(), &overflow);
  if (overflow == 0 && !(is_unsigned && number < 0)) {
    return is_unsigned ? Value::unsigned_integer(static_cast<uint64_t>(number))
                       : Value::integer(number);
  }
  if (overflow > 0) {
    const unsigned long long large = PyLong_AsUnsignedLongLong(value.ptr());
    if (PyErr_Occurred() == nullptr) return Value::unsigned_integer(large);
    PyErr_Clear();
  }
  refuse(name, is_unsigned ? "expected an integer from 0 to 2^64 - 1"
                           : "expected an integer of 64 bits; give larger ones as text");
}

}  // namespace

log::Class log_class_of(PyObject* name) {
  const auto chain = log::class_from_name(utf8_view(name));
  if (!chain) {
    raise_error({Code::kInvalidArgument, "class: expected security, access, other or usage, got " +
                                             std::string(utf8_view(name))});
  }
  return *chain;
}

log::Ack log_ack_of(PyObject* name) {
  const std::string_view text = utf8_view(name);
  if (text == "ring") return log::Ack::kRing;
  if (text == "os") return log::Ack::kOs;
  if (text == "disk") return log::Ack::kDisk;
  raise_error({Code::kInvalidArgument, "ack: expected ring, os or disk, got " + std::string(text)});
}

std::string log_field_name(FieldId id) {
  const auto number = static_cast<size_t>(id);
  if (const std::string_view name = log::event_field_name(id); !name.empty()) {
    return std::string(name);
  }
  const auto first = static_cast<size_t>(FieldId::kHost);
  if (number >= first && number < first + kOwnFields.size()) {
    return std::string(kOwnFields[number - first].first);
  }
  return "field_" + std::to_string(number);
}

std::array<char, 36> uuid_text(std::string_view bytes) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::array<char, 36> out{};
  size_t at = 0;
  for (size_t i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out[at++] = '-';
    const auto byte = static_cast<uint8_t>(bytes[i]);
    out[at++] = kHex[byte >> 4];
    out[at++] = kHex[byte & 15];
  }
  return out;
}

LogEvent::LogEvent(PyObject* chain, PyObject* tenant, int64_t time_ns, PyObject* fields,
                   PyObject* subject, PyObject* sealed)
    : chain_(log_class_of(chain)), time_ns_(time_ns) {
  if (tenant != nullptr && tenant != Py_None) tenant_ = text_of(tenant);
  PyObject* key = nullptr;
  PyObject* value = nullptr;
  for (Py_ssize_t at = 0; PyDict_Next(fields, &at, &key, &value) != 0;) add(key, value);
  const auto before = [](const log::Field& a, const log::Field& b) {
    return a.id != b.id ? a.id < b.id : a.name < b.name;
  };
  if (!ascends_) std::sort(fields_.begin(), fields_.end(), before);
  if (subject != nullptr && subject != Py_None) {
    subject_ = text_of(subject);
    if (subject_->empty()) {
      raise_error({Code::kInvalidArgument, "subject: expected a name, or None"});
    }
    if (sealed != nullptr) {
      for (const py::handle name : py::iter(sealed)) mark(utf8_view(name));
    }
  }
  check_size();
}

// Names of fields come again and again as the same interned objects.
FieldId LogEvent::field_id(PyObject* name) {
  struct Known {
    PyObject* name = nullptr;  // held, so that no other str can have its address
    FieldId id = FieldId::kNamed;
  };
  static std::array<Known, 128> known{};
  Known& slot = known[(reinterpret_cast<uintptr_t>(name) >> 4) % known.size()];
  if (slot.name == name) return slot.id;
  const FieldId id = log::event_field_id(text_view(name));
  if (PyUnicode_CHECK_INTERNED(name) != 0) {
    slot.id = id;
    Py_INCREF(name);
    Py_XSETREF(slot.name, name);
  }
  return id;
}

void LogEvent::push(const log::Field& field) {
  if (!fields_.empty()) {
    const log::Field& last = fields_.back();
    ascends_ &= last.id != field.id ? last.id < field.id : last.name < field.name;
  }
  fields_.push_back(field);
}

void LogEvent::mark(std::string_view name) {
  const FieldId id = log::event_field_id(name);
  if (id == FieldId::kEventId) refuse(name, "an event's id is never sealed");
  for (log::Field& field : fields_) {
    field.personal |= field.id == id && (id != FieldId::kNamed || field.name == name);
  }
}

std::string_view LogEvent::text_of(PyObject* value) {
  const std::string_view text = text_view(value);
  keep(value);
  return text;
}

void LogEvent::add(PyObject* key, PyObject* value) {
  const std::string_view name = text_view(key);
  const FieldId id = field_id(key);
  if (id == FieldId::kNamed) {
    if (name.empty() || name.size() > log::kNameBytesMax) {
      refuse(name, "expected a name of 1 to 255 bytes");
    }
    keep(key);
    push({id, value_of(name, value), name});
    return;
  }
  if (value == Py_None) {
    if (id != FieldId::kEventId) push({id, Value::null(), {}});
    return;  // an event without an id gets one
  }
  if (id == FieldId::kPolicyRevision) {
    if (!PyLong_Check(value) || PyBool_Check(value)) refuse_type(name, "int", value);
    push({id, number_of(name, value, true), {}});
    return;
  }
  if (!PyUnicode_Check(value)) refuse_type(name, "str or None", value);
  if (id == FieldId::kEventId) {
    made_.push_front(uuid_bytes(utf8_view(value)));
    push({id, Value::uuid(made_.front()), {}});
    return;
  }
  push({id, Value::text(text_of(value)), {}});
}

log::Value LogEvent::value_of(std::string_view name, PyObject* object) {
  if (object == Py_None) return Value::null();
  if (PyUnicode_Check(object)) return Value::text(text_of(object));
  if (PyBool_Check(object)) return Value::boolean(object == Py_True);
  if (PyLong_Check(object)) return number_of(name, object, false);
  if (PyBytes_Check(object)) {
    keep(object);
    return Value::blob({PyBytes_AS_STRING(object), static_cast<size_t>(PyBytes_GET_SIZE(object))});
  }
  if (PyDict_Check(object) || PyList_Check(object) || PyTuple_Check(object) ||
      PyFloat_Check(object)) {
    return json_of(name, object);
  }
  refuse_type(name, "None, bool, int, float, str, bytes, dict or list", object);
}

log::Value LogEvent::json_of(std::string_view name, PyObject* value) {
  std::string text;
  try {
    json_value(value, &text);
  } catch (const py::type_error& fault) {
    throw py::type_error("fields[\"" + std::string(name) + "\"]: " + fault.what());
  } catch (const py::value_error& fault) {
    refuse(name, fault.what());
  }
  made_.push_front(std::move(text));
  return Value::json(made_.front());
}

// The rest of what encode_record refuses, looked at before any event of a call is recorded.
void LogEvent::check_size() const {
  if (tenant_ && tenant_->size() > log::kTenantBytesMax) {
    raise_error({Code::kInvalidArgument, "tenant: expected at most 1024 bytes of UTF-8, got " +
                                             std::to_string(tenant_->size()) + " bytes"});
  }
  // Of a field without name and bytes, sealed.
  constexpr size_t kFieldBytesMax = 2 + 1 + 2 + 4 + 8 + 45;
  size_t bytes = log::kRecordBytesMin + (tenant_ ? tenant_->size() : 0) + kFieldBytesMax + 16;
  for (const log::Field& field : fields_) {
    bytes += kFieldBytesMax + field.name.size() + field.value.bytes.size();
  }
  // One more field than there are may become the event's id.
  if (fields_.size() >= log::kFieldsMax || bytes > log::kRecordBytesMax) {
    raise_error({Code::kInvalidArgument,
                 "fields: expected at most 4095 of together less than 1 MiB, got " +
                     std::to_string(fields_.size()) + " of " + std::to_string(bytes) +
                     " bytes; store what is large elsewhere and log its hash"});
  }
}

}  // namespace tenancy
