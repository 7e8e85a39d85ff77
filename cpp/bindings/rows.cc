#include "rows.h"

#include <cstring>

namespace tenancy {
namespace {

// One tuple, read from left to right. A million of these are read at open, so it uses the plain
// API.
class Row {
 public:
  Row(const char* kind, Py_ssize_t number, PyObject* tuple, Py_ssize_t width)
      : kind_(kind), number_(number), tuple_(tuple) {
    if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) != width) {
      fail("expected a tuple of " + std::to_string(width));
    }
  }

  std::string text() {
    std::string out;
    PyObject* item = next();
    if (item != Py_None) out.assign(view(item));
    return out;
  }

  // 0 for None.
  int64_t integer(int64_t absent = 0) {
    PyObject* item = next();
    if (item == Py_None) return absent;
    const long long value = PyLong_AsLongLong(item);
    if (value == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
    return value;
  }

  Digest256 digest() {
    PyObject* item = next();
    Digest256 out{};
    if (!PyBytes_Check(item) || PyBytes_GET_SIZE(item) != static_cast<Py_ssize_t>(out.size())) {
      fail("expected 32 bytes");
    }
    std::memcpy(out.data(), PyBytes_AS_STRING(item), out.size());
    return out;
  }

  // Null stays apart from empty: *present says which.
  std::vector<std::string> texts(bool* present) {
    std::vector<std::string> out;
    PyObject* item = next();
    if (present != nullptr) *present = item != Py_None;
    if (item == Py_None) return out;
    py::object sequence =
        py::reinterpret_steal<py::object>(PySequence_Fast(item, "expected a sequence of str"));
    if (!sequence) throw py::error_already_set();
    const Py_ssize_t size = PySequence_Fast_GET_SIZE(sequence.ptr());
    for (Py_ssize_t i = 0; i < size; ++i) {
      out.emplace_back(view(PySequence_Fast_GET_ITEM(sequence.ptr(), i)));
    }
    return out;
  }

 private:
  PyObject* next() { return PyTuple_GET_ITEM(tuple_, position_++); }

  std::string_view view(PyObject* item) {
    if (!PyUnicode_Check(item)) fail("expected str in column " + std::to_string(position_ - 1));
    return utf8_view(item);
  }

  [[noreturn]] void fail(const std::string& what) {
    throw py::type_error(std::string(kind_) + "[" + std::to_string(number_) + "]: " + what);
  }

  const char* kind_;
  Py_ssize_t number_;
  PyObject* tuple_;
  Py_ssize_t position_ = 0;
};

TenantRow read_tenant(Row& row) {
  TenantRow out;
  out.id = row.text();
  out.external_id = row.text();
  out.slug = row.text();
  out.status = value_or_raise(status_from_name(row.text()));
  out.plan = row.text();
  out.time_zone = row.text();
  out.anchor_wall_ns = row.integer();
  out.overrides = row.text();
  out.settings = row.text();
  return out;
}

KeyRow read_key(Row& row) {
  KeyRow out;
  out.id = row.text();
  out.tenant_id = row.text();
  out.digest = row.digest();
  out.principal = row.text();
  out.scopes = row.texts(&out.scoped);
  out.expires_wall_ns = row.integer();
  out.revoked_wall_ns = row.integer();
  out.grace_until_wall_ns = row.integer();
  out.limit = row.text();
  return out;
}

SessionRow read_session(Row& row) {
  SessionRow out;
  out.digest = row.digest();
  out.tenant_id = row.text();
  out.principal = row.text();
  out.platform = row.text();
  out.expires_wall_ns = row.integer();
  bool named = false;
  std::vector<std::string> roles = row.texts(&named);
  if (named) out.roles = std::move(roles);
  return out;
}

RoleRow read_role(Row& row) {
  RoleRow out;
  out.tenant_id = row.text();
  out.role.name = row.text();
  out.role.permissions = row.texts(nullptr);
  out.role.denies = row.texts(nullptr);
  out.role.inherits = row.texts(nullptr);
  return out;
}

AssignmentRow read_assignment(Row& row, bool with_until) {
  AssignmentRow out;
  out.tenant_id = row.text();
  out.principal = row.text();
  out.role = row.text();
  out.resource = row.text();
  if (with_until) out.until_ns = row.integer(kForever);
  return out;
}

ResourceRow read_resource(Row& row, bool with_creator) {
  ResourceRow out;
  out.tenant_id = row.text();
  out.type = row.text();
  out.id = row.text();
  if (with_creator) out.creator = row.text();
  return out;
}

template <class Out, class Read>
void read_rows(const py::dict& changes, const char* kind, Py_ssize_t width, std::vector<Out>* out,
               Read&& read) {
  if (!changes.contains(kind)) return;
  py::object rows = py::reinterpret_steal<py::object>(
      PySequence_Fast(changes[kind].ptr(), "expected a sequence of tuples"));
  if (!rows) throw py::error_already_set();
  const Py_ssize_t size = PySequence_Fast_GET_SIZE(rows.ptr());
  out->reserve(static_cast<size_t>(size));
  for (Py_ssize_t i = 0; i < size; ++i) {
    Row row(kind, i, PySequence_Fast_GET_ITEM(rows.ptr(), i), width);
    out->push_back(read(row));
  }
}

constexpr const char* kKinds[] = {"tenants",
                                  "keys",
                                  "sessions",
                                  "resources",
                                  "roles",
                                  "assignments",
                                  "removed_keys",
                                  "removed_roles",
                                  "removed_assignments",
                                  "removed_tenants",
                                  "removed_sessions",
                                  "removed_resources"};

void check_kinds(const py::dict& changes) {
  for (const auto& [kind, rows] : changes) {
    bool known = false;
    for (const char* name : kKinds) known |= utf8_view(kind) == name;
    if (!known) throw py::value_error("unknown kind of change: " + std::string(utf8_view(kind)));
  }
}

}  // namespace

void read_changes(const py::dict& changes, ChangeSet* out) {
  check_kinds(changes);
  read_rows(changes, "tenants", 9, &out->tenants, read_tenant);
  read_rows(changes, "keys", 9, &out->keys, read_key);
  read_rows(changes, "sessions", 6, &out->sessions, read_session);
  read_rows(changes, "roles", 5, &out->roles, read_role);
  read_rows(changes, "assignments", 5, &out->assignments,
            [](Row& row) { return read_assignment(row, true); });
  read_rows(changes, "resources", 4, &out->resources,
            [](Row& row) { return read_resource(row, true); });
  read_rows(changes, "removed_tenants", 1, &out->removed_tenants,
            [](Row& row) { return row.text(); });
  read_rows(changes, "removed_keys", 1, &out->removed_keys, [](Row& row) { return row.text(); });
  read_rows(changes, "removed_sessions", 1, &out->removed_sessions,
            [](Row& row) { return row.digest(); });
  read_rows(changes, "removed_roles", 2, &out->removed_roles, [](Row& row) {
    std::string tenant = row.text();
    return std::make_pair(std::move(tenant), row.text());
  });
  read_rows(changes, "removed_assignments", 4, &out->removed_assignments,
            [](Row& row) { return read_assignment(row, false); });
  read_rows(changes, "removed_resources", 3, &out->removed_resources,
            [](Row& row) { return read_resource(row, false); });
}

}  // namespace tenancy
