// Rows of the store as Python tuples, turned into a ChangeSet. The shapes are documented at
// Engine.apply in python/tenancy/_core.pyi.
#pragma once

#include "pybind.h"
#include "tenancy/engine/definitions.h"

namespace tenancy {

// Raises TypeError or ValueError naming the kind and the row number.
void read_changes(const py::dict& changes, ChangeSet* out);

}  // namespace tenancy
