// Reading what a quota is: kind, period, alerts, lease.
//
// Thread safety: pure functions.
#pragma once

#include <string>

#include "tenancy/catalog/catalog.h"
#include "tenancy/catalog/fields.h"

namespace tenancy {

// What could be read; the rest has its defaults and was reported.
QuotaDef read_quota_def(const std::string& name, const Field& field);

}  // namespace tenancy
