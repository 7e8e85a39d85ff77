// The Python types that answers are made of: Decision, Limit and Handle. Hand-written heap types,
// because a decision is made per request and pybind11's would cost several times as much.
//
// Ownership: a Decision owns its C++ decision and shares the engine; a Handle shares both. Nothing
// refers back to the gate. A decision of a web request is part of a reference cycle until the
// request's context ends and lets go of it. Thread safety: under the interpreter's lock.
#pragma once

#include "pybind.h"
#include "tenancy/engine/engine.h"

namespace tenancy {

struct PyDecision {
  PyObject_HEAD PyObject* engine;  // its Python object: counting that reference is not atomic
  PyObject* reasons;               // tuple of the members of tenancy.Reason
  int quota_status;
  PyObject* request;  // of the web request that was admitted, for its facts: scope or environ; null
  Decision decision;
};

// What a reservation or lease needs to be settled, wherever it is kept.
struct HandleState {
  std::shared_ptr<Engine> engine;
  std::shared_ptr<const Definitions> definitions;
  const TenantEntry* tenant = nullptr;
  QuotaEntry entry;
};

// A new Decision with nothing in it. Takes its memory from a small free list.
PyDecision* new_decision(PyObject* engine, PyObject* reasons, int quota_status);
bool is_decision(PyObject* object);

// The window with the smallest share left, refusing ones first; null where no limit applied.
const LimitEntry* tightest_of(const Decision& decision);

// The roles that act, as a tuple of str; None where all that are held do.
py::object active_roles_of(const Decision& decision);

// New references.
PyObject* make_limit(const LimitEntry& entry);
PyObject* make_handle(HandleState state);
py::dict quota_dict(const QuotaDef& def, const QuotaState& state);

void bind_decision_types(py::module_& module);

}  // namespace tenancy
