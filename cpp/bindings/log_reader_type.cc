// LogReader: durable records as rows of Python objects, as fast as a projection can take them.
#include <algorithm>
#include <array>
#include <atomic>
#include <forward_list>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "canonical_json.h"
#include "log_fields.h"
#include "pybind.h"
#include "tenancy/log/bytes.h"
#include "tenancy/log/reader.h"
#include "tenancy/log/sealing.h"

namespace tenancy {
namespace {

using log::FieldId;
using log::RecordView;
using log::Value;
using log::ValueType;

constexpr size_t kColumns = 23;
constexpr size_t kHeadColumns = 5;  // sequence … tenant_sequence; then fields 1 to 15, then rest
constexpr size_t kRestColumn = 20;  // then subject_key, sealed
constexpr size_t kPieceBytes = size_t{1} << 20;
constexpr size_t kRowsMax = size_t{1} << 24;

PyObject* checked(PyObject* made) {
  if (made == nullptr) throw py::error_already_set();
  return made;
}

PyObject* new_str(std::string_view text) {
  return checked(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), nullptr));
}

// The str objects of texts that come again and again: types, tenants, results.
class Texts {
 public:
  Texts() = default;
  Texts(const Texts&) = delete;
  Texts& operator=(const Texts&) = delete;
  ~Texts() {
    for (PyObject* text : slots_) Py_XDECREF(text);
  }

  // A new reference.
  PyObject* get(std::string_view text) {
    if (text.size() > kBytesMax) return new_str(text);
    PyObject*& slot = slots_[std::hash<std::string_view>()(text) % slots_.size()];
    if (slot == nullptr || utf8_view(slot) != text) {
      PyObject* const made = new_str(text);
      Py_XDECREF(std::exchange(slot, made));
    }
    return Py_NewRef(slot);
  }

 private:
  static constexpr size_t kBytesMax = 64;
  std::array<PyObject*, 2048> slots_{};
};

// Whether a column holds numbers; all others hold texts.
bool is_number(size_t column) {
  constexpr size_t kTenantColumn = 3;
  constexpr size_t kPolicyRevisionColumn =
      kHeadColumns + static_cast<size_t>(FieldId::kPolicyRevision) - 1;
  return (column < kHeadColumns && column != kTenantColumn) || column == kPolicyRevisionColumn;
}

// Fields that are different in nearly every record.
bool is_unique(FieldId id) {
  return id == FieldId::kRequestId || id == FieldId::kResourceId || id == FieldId::kSource;
}

PyObject* to_object(FieldId id, const Value& value, Texts* texts) {
  switch (value.type) {
    case ValueType::kNull: return Py_NewRef(Py_None);
    case ValueType::kBool: return Py_NewRef(value.number != 0 ? Py_True : Py_False);
    case ValueType::kInt: return checked(PyLong_FromLongLong(static_cast<int64_t>(value.number)));
    case ValueType::kUint: return checked(PyLong_FromUnsignedLongLong(value.number));
    case ValueType::kText: return is_unique(id) ? new_str(value.bytes) : texts->get(value.bytes);
    case ValueType::kJson: return new_str(value.bytes);
    case ValueType::kUuid: {
      const std::array<char, 36> text = uuid_text(value.bytes);
      return new_str({text.data(), text.size()});
    }
    case ValueType::kBytes:
    case ValueType::kSealed: break;
  }
  return checked(
      PyBytes_FromStringAndSize(value.bytes.data(), static_cast<Py_ssize_t>(value.bytes.size())));
}

std::string name_of(const log::Field& field) {
  return field.id == FieldId::kNamed ? std::string(field.name) : log_field_name(field.id);
}

void json_field(const Value& value, std::string* out) {
  switch (value.type) {
    case ValueType::kNull: out->append("null"); break;
    case ValueType::kBool: out->append(value.number != 0 ? "true" : "false"); break;
    case ValueType::kInt: json_integer(static_cast<int64_t>(value.number), out); break;
    case ValueType::kUint: json_unsigned(value.number, out); break;
    case ValueType::kText: json_text(value.bytes, out); break;
    case ValueType::kJson: out->append(value.bytes); break;
    case ValueType::kUuid: {
      const std::array<char, 36> text = uuid_text(value.bytes);
      json_text({text.data(), text.size()}, out);
      break;
    }
    case ValueType::kBytes:
    case ValueType::kSealed: json_text(log::hex(value.bytes), out); break;
  }
}

class LogReader {
 public:
  LogReader(std::string log_directory, const std::string& keys_directory)
      : directory_(std::move(log_directory)) {
    if (!keys_directory.empty()) {
      opener_ = std::make_unique<log::Opener>(log::Files::system(), keys_directory);
    }
  }

  py::list rows(const py::str& chain, uint64_t from, int64_t limit, bool marked);

 private:
  // One thread at a time: files and buffers belong to the call.
  class Turn {
   public:
    explicit Turn(std::atomic<bool>& taken) : taken_(taken) {
      if (taken_.exchange(true)) {
        raise_error(
            {Code::kConflict, "another thread reads with this LogReader; make one for each"});
      }
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() { taken_.store(false); }

   private:
    std::atomic<bool>& taken_;
  };

  Status read_piece(log::Class chain, uint64_t from, size_t limit);
  void add_rows(py::list* rows, bool marked);
  PyObject* row(const RecordView& record);
  void mark(PyObject* row) const;
  // Opens a sealed field, noting that it was one; false when it stays closed.
  bool open(log::Field* field);
  PyObject* sealed_names();
  PyObject* rest();

  const std::string directory_;
  std::array<std::unique_ptr<log::Reader>, log::kClasses> readers_;
  std::atomic<bool> taken_{false};
  std::string piece_;  // records one after the other
  std::vector<size_t> sizes_;
  std::vector<std::pair<std::string, Value>> others_;
  std::unique_ptr<log::Opener> opener_;  // null: what is sealed stays closed
  std::vector<std::string> sealed_;      // names of the record's sealed fields
  std::string subject_key_;              // of the first of them, in hexadecimal digits
  std::forward_list<std::string> opened_;
  Texts texts_;
  const py::object no_text_ = py::int_(0);
  const py::object no_number_ = py::str("");
};

// The next records, copied: what the reader shows is gone with its next step. A fault behind good
// records is reported by the next call.
Status LogReader::read_piece(log::Class chain, uint64_t from, size_t limit) {
  piece_.clear();
  sizes_.clear();
  std::unique_ptr<log::Reader>& reader = readers_[log::index(chain)];
  if (reader == nullptr || reader->position() != from) {
    Result<std::unique_ptr<log::Reader>> opened =
        log::Reader::open(log::Files::system(), directory_, chain, from);
    if (!opened) return opened.status();
    reader = std::move(*opened);
  }
  while (sizes_.size() < limit && piece_.size() < kPieceBytes) {
    RecordView record;
    const Result<bool> found = reader->next(&record);
    if (!found) {
      reader.reset();
      return sizes_.empty() ? found.status() : Status();
    }
    if (!*found) break;
    piece_.append(record.bytes());
    sizes_.push_back(record.size());
  }
  return {};
}

py::list LogReader::rows(const py::str& chain, uint64_t from, int64_t limit, bool marked) {
  const log::Class which = log_class_of(chain.ptr());
  if (limit < 1 || static_cast<uint64_t>(limit) > kRowsMax) {
    raise_error(
        {Code::kInvalidArgument, "limit: expected 1 to 16777216, got " + std::to_string(limit)});
  }
  const Turn turn(taken_);
  py::list out;
  while (out.size() < static_cast<size_t>(limit)) {
    const uint64_t next = from + out.size();
    const size_t left = static_cast<size_t>(limit) - out.size();
    Status status;
    {
      const py::gil_scoped_release released;
      status = read_piece(which, next, left);
    }
    if (!status && out.empty()) raise_error(status.error());
    if (!status || sizes_.empty()) break;
    add_rows(&out, marked);
  }
  return out;
}

void LogReader::add_rows(py::list* rows, bool marked) {
  std::string_view bytes = piece_;
  for (const size_t size : sizes_) {
    RecordView record;
    // Its CRC was looked at by the reader; here it costs less than a second way in would.
    if (RecordView::parse(bytes.substr(0, size), &record) != log::Framing::kRecord) {
      raise_error({Code::kDamaged, "a record changed while it was read"});
    }
    bytes.remove_prefix(size);
    const auto made = py::reinterpret_steal<py::object>(row(record));
    if (marked) mark(made.ptr());
    if (PyList_Append(rows->ptr(), made.ptr()) != 0) throw py::error_already_set();
  }
}

// A column without a value gets what none of its values is: 0 among texts, "" among numbers.
void LogReader::mark(PyObject* row) const {
  for (size_t i = 0; i < kColumns; ++i) {
    const auto at = static_cast<Py_ssize_t>(i);
    if (PyTuple_GET_ITEM(row, at) != Py_None) continue;
    PyTuple_SET_ITEM(row, at, Py_NewRef(is_number(i) ? no_number_.ptr() : no_text_.ptr()));
    Py_DECREF(Py_None);
  }
}

PyObject* LogReader::row(const RecordView& record) {
  auto made = py::reinterpret_steal<py::object>(checked(PyTuple_New(kColumns)));
  PyObject* const tuple = made.ptr();
  size_t at = 0;
  const auto add = [&](PyObject* object) {
    PyTuple_SET_ITEM(tuple, static_cast<Py_ssize_t>(at++), object);
  };
  add(checked(PyLong_FromUnsignedLongLong(record.sequence())));
  add(checked(PyLong_FromLong(static_cast<long>(record.kind()))));
  add(checked(PyLong_FromLongLong(record.time_ns())));
  const auto tenant = record.tenant();
  add(tenant ? texts_.get(*tenant) : Py_NewRef(Py_None));
  add(tenant ? checked(PyLong_FromUnsignedLongLong(record.tenant_sequence())) : Py_NewRef(Py_None));
  others_.clear();
  sealed_.clear();
  opened_.clear();
  log::FieldCursor cursor = record.fields();
  log::Field field;
  while (cursor.next(&field)) {
    const auto number = static_cast<size_t>(field.id);
    if (field.id == FieldId::kUsageBatch) continue;  // UsageLog reads it
    if (field.value.type == ValueType::kSealed && !open(&field)) continue;
    if (number > kRestColumn - kHeadColumns) {
      others_.emplace_back(name_of(field), field.value);
      continue;
    }
    while (at < kHeadColumns + number - 1) add(Py_NewRef(Py_None));
    add(to_object(field.id, field.value, &texts_));
  }
  if (!cursor.ok() || !cursor.at_end()) {
    raise_error({Code::kDamaged, "record " + std::to_string(record.sequence()) +
                                     ": its fields have no valid form; run: tenancy audit verify"});
  }
  while (at < kRestColumn) add(Py_NewRef(Py_None));
  add(rest());
  add(sealed_.empty() ? Py_NewRef(Py_None) : texts_.get(subject_key_));
  add(sealed_names());
  // Nothing in it refers to anything: the collector need not look.
  PyObject_GC_UnTrack(tuple);
  return made.release().ptr();
}

bool LogReader::open(log::Field* field) {
  if (sealed_.empty()) subject_key_ = log::hex(log::sealed_under(field->value));
  sealed_.push_back(name_of(*field));
  if (opener_ == nullptr) return false;
  opened_.emplace_front();
  return value_or_raise(opener_->open(field, &opened_.front()));
}

// As a JSON array in the order of the fields, or None.
PyObject* LogReader::sealed_names() {
  if (sealed_.empty()) return Py_NewRef(Py_None);
  std::string text;
  for (const std::string& name : sealed_) {
    text.push_back(text.empty() ? '[' : ',');
    json_text(name, &text);
  }
  text.push_back(']');
  return texts_.get(text);
}

PyObject* LogReader::rest() {
  if (others_.empty()) return Py_NewRef(Py_None);
  std::sort(others_.begin(), others_.end(),
            [](const auto& a, const auto& b) { return json_name_less(a.first, b.first); });
  std::string text;
  for (const auto& [name, value] : others_) {
    text.push_back(text.empty() ? '{' : ',');
    json_text(name, &text);
    text.push_back(':');
    json_field(value, &text);
  }
  text.push_back('}');
  return new_str(text);
}

py::tuple column_names() {
  py::tuple out(kColumns);
  const std::array<std::string_view, kHeadColumns> head = {"sequence", "kind", "time_ns", "tenant",
                                                           "tenant_sequence"};
  constexpr std::array<std::string_view, kColumns - kRestColumn> kTail = {"rest", "subject_key",
                                                                          "sealed"};
  for (size_t i = 0; i < kColumns; ++i) {
    if (i < kHeadColumns) {
      out[i] = to_str(head[i]);
    } else if (i >= kRestColumn) {
      out[i] = to_str(kTail[i - kRestColumn]);
    } else {
      out[i] = to_str(log_field_name(static_cast<FieldId>(i - kHeadColumns + 1)));
    }
  }
  return out;
}

}  // namespace

void bind_log_reader(py::module_& module) {
  py::class_<LogReader> reader(module, "LogReader");
  reader
      .def(py::init([](const py::str& directory, const py::str& keys) {
             return std::make_unique<LogReader>(std::string(utf8_view(directory)),
                                                std::string(utf8_view(keys)));
           }),
           py::arg("log_directory"), py::arg("keys_directory") = "")
      .def("rows", &LogReader::rows, py::arg("chain"), py::arg("from_sequence"), py::arg("limit"),
           py::kw_only(), py::arg("marked") = false);
  reader.attr("columns") = column_names();
}

}  // namespace tenancy
