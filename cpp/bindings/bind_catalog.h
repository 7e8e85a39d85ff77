// Effective plan values for Python, shared by the catalog's binding and the engine's.
#pragma once

#include "pybind.h"
#include "tenancy/catalog/catalog.h"

namespace tenancy {

// {"plan", "quotas": {name: (limit, soft, grace, origin)}, "rate_limits", "features", …}
py::dict entitlements_dict(const Catalog& catalog, const Entitlements& own);

}  // namespace tenancy
