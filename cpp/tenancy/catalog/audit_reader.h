// The member "audit" of a catalog.
//
// Thread safety: pure functions.
#pragma once

#include "tenancy/catalog/audit_policy.h"
#include "tenancy/catalog/fields.h"

namespace tenancy {

// What is absent keeps its default.
AuditPolicy read_audit_policy(const Field& field);

}  // namespace tenancy
