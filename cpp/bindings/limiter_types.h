// The Python types of the limiter that works alone: LimiterCore and LimitAnswer. Hand-written heap
// types, because a hit costs less than a pybind11 call.
//
// Ownership: a LimiterCore owns its table and policies; an answer owns plain numbers and refers to
// nothing. Thread safety: under the interpreter's lock; the counters themselves need none.
#pragma once

#include <span>

#include "pybind.h"
#include "tenancy/limits/limiter.h"

namespace tenancy {

// One window of an answer.
struct WindowState {
  LimitState state;
  int64_t window_ns = 0;
  uint64_t per_window = 0;  // the policy's limit, which a burst keeps out of `state`
};

// A new reference, or null with an exception set. `taken_ns` is when the hit was counted.
PyObject* new_limit_answer(std::span<const WindowState> windows, int64_t taken_ns);
bool is_limit_answer(PyObject* object);
int64_t limit_answer_taken_ns(PyObject* answer);

// Sets tenancy.errors.InvalidValue(field, message, remedy=remedy).
void set_invalid_value(const char* field, const char* message, const char* remedy);

void bind_limit_answer(py::module_& module);
void bind_limiter_core(py::module_& module);

}  // namespace tenancy
