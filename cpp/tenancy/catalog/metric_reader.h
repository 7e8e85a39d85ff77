// Reading what is metered: the members "metrics" and "metering" of a catalog.
//
// Thread safety: pure functions.
#pragma once

#include <vector>

#include "tenancy/catalog/fields.h"
#include "tenancy/catalog/metric_def.h"

namespace tenancy {

// What could be read; the rest was reported. `quotas` are those of the catalog.
std::vector<MetricDef> read_metric_defs(const Field& field, const std::vector<QuotaDef>& quotas);
MeteringPolicy read_metering_policy(const Field& field);

}  // namespace tenancy
