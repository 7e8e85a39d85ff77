// Making a log: its keys, manifest and head. Internal. (LOG_FORMAT.md, 7.2)
//
// Thread safety: free functions without state; the caller holds the log's file lock.
#pragma once

#include "tenancy/base/status.h"
#include "tenancy/log/io.h"
#include "tenancy/log/store.h"

namespace tenancy::log {

// The stored key; makes the log first when there is none. kDamaged when there are keys without a
// log, or a log without keys.
Result<StoredKey> open_or_create(Files& files, const Paths& paths, int64_t now_ns);

}  // namespace tenancy::log
