// What Python hands to the log, as the log wants it.
#pragma once

#include <absl/container/inlined_vector.h>

#include <array>
#include <cstdint>
#include <exception>
#include <forward_list>
#include <new>
#include <optional>
#include <string>
#include <string_view>

#include "pybind.h"
#include "tenancy/log/log.h"

namespace tenancy {

// C++ exceptions become Python's at this border.
template <class Call>
PyObject* guarded(Call&& call) {
  try {
    return call();
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

log::Class log_class_of(PyObject* name);  // raises for an unknown one
log::Ack log_ack_of(PyObject* name);

// Adds `append` and `submit` to the type of logs.
void add_log_append(const py::handle& log_type);

// Log.prune.
py::dict prune_log(log::Log& self, const py::str& chain, uint64_t before);

// The name that a field has in Python: "event_id", … "quantity", "host", …; of a field that is not
// known here "field_18".
std::string log_field_name(log::FieldId id);

// The text of a UUID's 16 bytes.
std::array<char, 36> uuid_text(std::string_view bytes);

// One event of Python. It keeps what its fields point into, so they may be read without the GIL.
// NOLINTNEXTLINE(bugprone-exception-escape): moving its vectors moves what cannot throw
class LogEvent {
 public:
  // Raises for what can never be recorded, naming the field. Nothing is recorded before all events
  // of a call have passed here.
  // `fields` is a dict; the last two and `tenant` may be null, which is None and nothing. Fields
  // named in `sealed` are marked personal when there is a subject.
  LogEvent(PyObject* chain, PyObject* tenant, int64_t time_ns, PyObject* fields, PyObject* subject,
           PyObject* sealed);

  log::Entry entry() const { return {chain_, tenant_, fields_, time_ns_, subject_}; }

 private:
  void add(PyObject* key, PyObject* value);
  void push(const log::Field& field);
  log::Value value_of(std::string_view name, PyObject* value);
  log::Value json_of(std::string_view name, PyObject* value);
  std::string_view text_of(PyObject* value);
  void keep(PyObject* object) { kept_.push_back(py::reinterpret_borrow<py::object>(object)); }
  static log::FieldId field_id(PyObject* name);
  void check_size() const;
  void mark(std::string_view name);

  log::Class chain_;
  int64_t time_ns_;
  std::optional<std::string_view> tenant_;
  std::optional<std::string_view> subject_;
  // Events have a dozen fields; of most no memory has to be asked for.
  static constexpr size_t kUsualFields = 16;
  absl::InlinedVector<log::Field, kUsualFields> fields_;
  absl::InlinedVector<py::object, kUsualFields + 2> kept_;
  bool ascends_ = true;
  std::forward_list<std::string> made_;  // texts that no Python object holds
};

}  // namespace tenancy
