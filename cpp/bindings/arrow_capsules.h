// The capsules in which Arrow's structs travel between libraries ("The Arrow PyCapsule Interface",
// arrow.apache.org).
//
// Ownership: a capsule owns its struct; `take_array` moves one out of it. Thread safety: under the
// interpreter's lock; what `take_array` returns may be read from any thread.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "pricing_types.h"
#include "tenancy/billing/arrow.h"

namespace tenancy {

template <class Struct>
Struct* from_capsule(const py::handle& capsule, const char* name, const char* field) {
  void* found = PyCapsule_GetPointer(capsule.ptr(), name);
  if (found == nullptr) {
    PyErr_Clear();
    raise_invalid(field, {Code::kInvalidArgument,
                          std::string("its Arrow capsule is not an \"") + name + "\""});
  }
  return static_cast<Struct*>(found);
}

template <class Struct>
py::capsule capsule_of(std::unique_ptr<Struct> value, const char* name) {
  return py::capsule(value.release(), name, [](PyObject* capsule) {
    auto* held = static_cast<Struct*>(PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule)));
    if (held->release != nullptr) held->release(held);
    delete held;
  });
}

// Takes an array out of where it lies; the copy releases it.
inline std::shared_ptr<const ArrowArray> take_array(ArrowArray* array) {
  auto owned = std::shared_ptr<ArrowArray>(new ArrowArray(*array), [](ArrowArray* each) {
    if (each->release != nullptr) each->release(each);
    delete each;
  });
  array->release = nullptr;
  return owned;
}

inline void check_stream(int failed, ArrowArrayStream* stream, const char* field) {
  if (failed == 0) return;
  const char* reason = stream->get_last_error(stream);
  raise_invalid(field, {Code::kInvalidArgument, std::string("its Arrow stream failed: ") +
                                                    (reason != nullptr ? reason : "?")});
}

}  // namespace tenancy
