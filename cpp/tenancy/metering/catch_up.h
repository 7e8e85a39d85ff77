// Bringing the index of ids up to the log. Internal to this layer.
//
// Thread safety: under the index's lock.
#pragma once

#include <cstdint>

#include "tenancy/base/status.h"
#include "tenancy/log/log.h"
#include "tenancy/metering/id_index.h"

namespace tenancy::metering {

// Adds the ids of all usage records of the window from the index's position on, after making them
// durable: what a power cut may still take is not read. An index of position 0 is filled from what
// the log has kept of the window.
Status catch_up(log::Log& log, IdIndex& index, int64_t now_ns);

}  // namespace tenancy::metering
