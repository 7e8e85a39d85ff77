// Decision: the answer to one request, read lazily from the C++ decision it owns.
#include <new>

#include "bind_engine.h"
#include "decision_types.h"

namespace tenancy {

PyObject* make_handle_of(PyDecision* owner, size_t index);
void bind_handle_type(py::module_& module);
void bind_limit_type(py::module_& module);

namespace {

PyTypeObject* g_decision_type = nullptr;

// A decision is several kilobytes, made and dropped per request: a few are kept for the next one.
constexpr size_t kFreeMax = 64;
PyDecision* g_free[kFreeMax];
size_t g_free_count = 0;

PyDecision* as_decision(PyObject* self) { return reinterpret_cast<PyDecision*>(self); }

void decision_dealloc(PyObject* self) {
  PyDecision* object = as_decision(self);
  object->decision.~Decision();
  Py_XDECREF(object->request);
  Py_DECREF(object->engine);
  Py_DECREF(object->reasons);
  PyTypeObject* type = Py_TYPE(self);
  if (g_free_count < kFreeMax) {
    g_free[g_free_count++] = object;
  } else {
    PyObject_Free(self);
  }
  Py_DECREF(type);
}

PyObject* text_or_none(std::string_view text) {
  if (text.empty()) Py_RETURN_NONE;
  return PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace");
}

int decision_bool(PyObject* self) { return as_decision(self)->decision.allowed() ? 1 : 0; }

PyObject* get_allowed(PyObject* self, void*) { return PyBool_FromLong(decision_bool(self)); }
PyObject* get_reason(PyObject* self, void*) {
  PyDecision* object = as_decision(self);
  return Py_NewRef(
      PyTuple_GET_ITEM(object->reasons, static_cast<Py_ssize_t>(object->decision.reason)));
}
PyObject* get_code(PyObject* self, void*) {
  const std::string_view code = reason_code(as_decision(self)->decision.reason);
  return PyUnicode_FromStringAndSize(code.data(), static_cast<Py_ssize_t>(code.size()));
}
PyObject* get_status(PyObject* self, void*) {
  PyDecision* object = as_decision(self);
  const Reason reason = object->decision.reason;
  const bool quota = reason == Reason::kQuotaExceeded || reason == Reason::kConcurrencyExceeded;
  return PyLong_FromLong(quota ? object->quota_status : reason_http_status(reason));
}
PyObject* get_detail(PyObject* self, void*) {
  const std::string& detail = as_decision(self)->decision.detail;
  return PyUnicode_DecodeUTF8(detail.data(), static_cast<Py_ssize_t>(detail.size()), "replace");
}
PyObject* get_tenant(PyObject* self, void*) {
  const TenantEntry* tenant = as_decision(self)->decision.tenant;
  return text_or_none(tenant == nullptr ? std::string_view() : tenant->id);
}
PyObject* get_credential_tenant(PyObject* self, void*) {
  const Decision& decision = as_decision(self)->decision;
  if (decision.key == nullptr && decision.session == nullptr) Py_RETURN_NONE;
  const uint32_t index = decision.key != nullptr ? decision.key->tenant : decision.session->tenant;
  const TenantEntry* tenant = decision.definitions->registry->tenant(index);
  return text_or_none(tenant == nullptr ? std::string_view() : tenant->id);
}
PyObject* get_tenant_slug(PyObject* self, void*) {
  const TenantEntry* tenant = as_decision(self)->decision.tenant;
  return text_or_none(tenant == nullptr ? std::string_view() : tenant->slug);
}
PyObject* get_plan(PyObject* self, void*) {
  const TenantEntry* tenant = as_decision(self)->decision.tenant;
  return text_or_none(tenant == nullptr ? std::string_view() : tenant->entitlements->plan);
}
PyObject* get_principal(PyObject* self, void*) {
  return text_or_none(as_decision(self)->decision.principal);
}
PyObject* get_key(PyObject* self, void*) {
  const KeyEntry* key = as_decision(self)->decision.key;
  return text_or_none(key == nullptr ? std::string_view() : key->id);
}
PyObject* get_session(PyObject* self, void*) {
  return PyBool_FromLong(as_decision(self)->decision.session != nullptr ? 1 : 0);
}
PyObject* get_retry_after(PyObject* self, void*) {
  const Decision& decision = as_decision(self)->decision;
  if (decision.retry_after_ns == kNever) Py_RETURN_NONE;
  return PyFloat_FromDouble(static_cast<double>(decision.retry_after_ns) / 1e9);
}
PyObject* get_revision(PyObject* self, void*) {
  const auto& definitions = as_decision(self)->decision.definitions;
  return PyLong_FromUnsignedLongLong(definitions == nullptr ? 0 : definitions->revision);
}
PyObject* get_finished(PyObject* self, void*) {
  return PyBool_FromLong(as_decision(self)->decision.finished ? 1 : 0);
}

// C++ exceptions (allocation, conversion) become Python's at this border.
template <class Fn>
PyObject* guarded(Fn&& fn) {
  try {
    return fn();
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

PyObject* get_active_roles(PyObject* self, void*) {
  return guarded(
      [&]() -> PyObject* { return active_roles_of(as_decision(self)->decision).release().ptr(); });
}
PyObject* get_roles_refused(PyObject* self, void*) {
  return PyBool_FromLong(as_decision(self)->decision.roles_refused ? 1 : 0);
}

PyObject* get_limits(PyObject* self, void*) {
  return guarded([&] {
    const auto& limits = as_decision(self)->decision.limits;
    py::tuple out(limits.size());
    for (size_t i = 0; i < limits.size(); ++i) {
      PyTuple_SET_ITEM(out.ptr(), static_cast<Py_ssize_t>(i), make_limit(limits[i]));
    }
    return out.release().ptr();
  });
}

// The smallest share left, compared without division: a/b < c/d as a*d < c*b.
bool tighter(const LimitState& a, const LimitState& b) {
  __extension__ using Wide = unsigned __int128;
  return Wide{a.remaining} * b.limit < Wide{b.remaining} * a.limit;
}

PyObject* get_tightest(PyObject* self, void*) {
  return guarded([&]() -> PyObject* {
    const LimitEntry* found = tightest_of(as_decision(self)->decision);
    if (found == nullptr) Py_RETURN_NONE;
    return make_limit(*found);
  });
}

PyObject* get_quotas(PyObject* self, void*) {
  return guarded([&] {
    const Decision& decision = as_decision(self)->decision;
    py::tuple out(decision.quotas.size());
    for (size_t i = 0; i < decision.quotas.size(); ++i) {
      const QuotaEntry& entry = decision.quotas[i];
      py::dict row = quota_dict(decision.definitions->catalog->quotas()[entry.quota], entry.state);
      row["amount"] = entry.amount;
      out[i] = std::move(row);
    }
    return out.release().ptr();
  });
}

PyObject* handles_of(PyObject* self, bool leases) {
  return guarded([&] {
    PyDecision* object = as_decision(self);
    py::list out;
    for (size_t i = 0; i < object->decision.quotas.size(); ++i) {
      const QuotaEntry& entry = object->decision.quotas[i];
      if (!entry.handle || entry.lease != leases || !entry.state.allowed) continue;
      out.append(py::reinterpret_steal<py::object>(make_handle_of(object, i)));
    }
    return py::tuple(out).release().ptr();
  });
}
PyObject* get_reservations(PyObject* self, void*) { return handles_of(self, false); }
PyObject* get_leases(PyObject* self, void*) { return handles_of(self, true); }

PyObject* get_repeated(PyObject* self, void*) {
  return PyBool_FromLong(as_decision(self)->decision.repeated ? 1 : 0);
}
PyObject* get_principal_is_hint(PyObject* self, void*) {
  return PyBool_FromLong(as_decision(self)->decision.principal_is_hint ? 1 : 0);
}
// explain_permission(permission, resource=None): which role grants it by which path, or the nearest
// miss.
PyObject* decision_explain_permission(PyObject* self, PyObject* const* args, Py_ssize_t count) {
  return guarded([&]() -> PyObject* {
    const Decision& decision = as_decision(self)->decision;
    if (count < 1 || count > 2) {
      throw py::type_error("explain_permission() takes a permission and a resource");
    }
    if (decision.tenant == nullptr) Py_RETURN_NONE;
    std::vector<std::string_view> active;
    AccessQuery query = Engine::access_query(decision, &active);
    query.permission = utf8_view(args[0]);
    if (count == 2 && args[1] != Py_None) query.resource = utf8_view(args[1]);
    return access_path_dict(decision.definitions->access->explain(query)).release().ptr();
  });
}

PyObject* decision_permissions(PyObject* self, PyObject*) {
  return guarded([&] {
    py::list out;
    for (const std::string& name : Engine::permissions_of(as_decision(self)->decision)) {
      out.append(to_str(name));
    }
    return out.release().ptr();
  });
}

PyObject* decision_repr(PyObject* self) {
  return guarded([&] {
    const Decision& decision = as_decision(self)->decision;
    std::string text = "Decision(" + std::string(reason_code(decision.reason));
    if (!decision.detail.empty()) text += " " + decision.detail;
    if (decision.tenant != nullptr) text += ", tenant=" + decision.tenant->id;
    if (!decision.principal.empty()) text += ", principal=" + decision.principal;
    text += ")";
    return PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace");
  });
}

PyMethodDef g_methods[] = {
    {"permissions", decision_permissions, METH_NOARGS, "What this caller may do, by name."},
    {"explain_permission",
     reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(decision_explain_permission)),
     METH_FASTCALL, "Which role grants a permission, or the nearest miss."},
    {nullptr, nullptr, 0, nullptr}};

#define TENANCY_GETTER(name) \
  { #name, get_##name, nullptr, nullptr, nullptr }
PyGetSetDef g_getters[] = {TENANCY_GETTER(allowed),
                           TENANCY_GETTER(reason),
                           TENANCY_GETTER(code),
                           TENANCY_GETTER(status),
                           TENANCY_GETTER(detail),
                           TENANCY_GETTER(tenant),
                           TENANCY_GETTER(tenant_slug),
                           TENANCY_GETTER(plan),
                           TENANCY_GETTER(principal),
                           TENANCY_GETTER(key),
                           TENANCY_GETTER(session),
                           TENANCY_GETTER(limits),
                           TENANCY_GETTER(tightest),
                           TENANCY_GETTER(quotas),
                           TENANCY_GETTER(reservations),
                           TENANCY_GETTER(leases),
                           TENANCY_GETTER(revision),
                           TENANCY_GETTER(retry_after),
                           TENANCY_GETTER(credential_tenant),
                           TENANCY_GETTER(finished),
                           TENANCY_GETTER(principal_is_hint),
                           TENANCY_GETTER(repeated),
                           TENANCY_GETTER(active_roles),
                           TENANCY_GETTER(roles_refused),
                           {nullptr, nullptr, nullptr, nullptr, nullptr}};
#undef TENANCY_GETTER

PyType_Slot g_slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(decision_dealloc)},
    {Py_tp_repr, reinterpret_cast<void*>(decision_repr)},
    {Py_nb_bool, reinterpret_cast<void*>(decision_bool)},
    {Py_tp_methods, g_methods},
    {Py_tp_getset, g_getters},
    {Py_tp_doc, const_cast<char*>("The answer to one request. True when allowed.")},
    {0, nullptr}};

PyType_Spec g_spec = {"tenancy._core.Decision", sizeof(PyDecision), 0,
                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, g_slots};

std::string_view quota_kind_name(QuotaKind kind) {
  switch (kind) {
    case QuotaKind::kCount: return "count";
    case QuotaKind::kConsumption: return "consumption";
    case QuotaKind::kSize: return "size";
    case QuotaKind::kPerObject: return "per_object";
    case QuotaKind::kConcurrency: return "concurrency";
  }
  return "count";
}

}  // namespace

py::dict quota_dict(const QuotaDef& def, const QuotaState& state) {
  py::dict out;
  out["quota"] = to_str(def.name);
  out["kind"] = to_str(quota_kind_name(def.kind));
  out["allowed"] = state.allowed;
  out["unlimited"] = state.unlimited;
  out["soft"] = state.soft;
  out["limit"] = state.unlimited ? py::object(py::none()) : py::object(py::int_(state.limit));
  out["used"] = state.used;
  out["reserved"] = state.reserved;
  out["overage"] = state.overage;
  out["exceeded"] = state.exceeded();
  out["period_start_wall_ns"] = state.period_start_wall_ns;
  out["period_end_wall_ns"] = state.period_end_wall_ns;
  py::list crossed;
  for (size_t i = 0; i < def.alert_percents.size(); ++i) {
    if ((state.crossed >> i & 1) != 0) crossed.append(static_cast<int>(def.alert_percents[i]));
  }
  out["crossed"] = std::move(crossed);
  return out;
}

PyDecision* new_decision(PyObject* engine, PyObject* reasons, int quota_status) {
  PyDecision* object;
  if (g_free_count > 0) {
    object = g_free[--g_free_count];
    PyObject_Init(reinterpret_cast<PyObject*>(object), g_decision_type);
  } else {
    object = PyObject_New(PyDecision, g_decision_type);
    if (object == nullptr) throw py::error_already_set();
  }
  object->engine = Py_NewRef(engine);
  object->reasons = Py_NewRef(reasons);
  object->quota_status = quota_status;
  object->request = nullptr;
  new (&object->decision) Decision();
  return object;
}

const LimitEntry* tightest_of(const Decision& decision) {
  const LimitEntry* found = nullptr;
  for (const LimitEntry& entry : decision.limits) {
    if (entry.policy->shadow) continue;
    const bool refused_first = found != nullptr && !found->state.allowed && entry.state.allowed;
    if (refused_first) continue;
    const bool refuses = !entry.state.allowed && (found == nullptr || found->state.allowed);
    if (found == nullptr || refuses || tighter(entry.state, found->state)) found = &entry;
  }
  return found;
}

py::object active_roles_of(const Decision& decision) {
  if (!decision.active_roles) return py::none();
  py::tuple out(decision.active_roles->size());
  for (size_t i = 0; i < out.size(); ++i) out[i] = to_str((*decision.active_roles)[i]);
  return out;
}

bool is_decision(PyObject* object) { return Py_IS_TYPE(object, g_decision_type); }

void bind_decision_types(py::module_& module) {
  bind_limit_type(module);
  bind_handle_type(module);
  g_decision_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&g_spec));
  if (g_decision_type == nullptr) throw py::error_already_set();
  module.add_object("Decision", reinterpret_cast<PyObject*>(g_decision_type));
}

}  // namespace tenancy
