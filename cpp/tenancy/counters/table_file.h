// Opening the file of a counter table: made, checked, or refused with what was found. Internal.
//
// Thread safety: free functions; creation and checks run under the file lock.
#pragma once

#include <memory>

#include "tenancy/base/clock.h"
#include "tenancy/base/mapped_file.h"
#include "tenancy/base/status.h"
#include "tenancy/counters/layout.h"
#include "tenancy/counters/table.h"

namespace tenancy::counters {

// The file (or private memory) behind `options`, with a valid header and table time running.
// `options` are expected to be valid: see check_options.
Result<std::unique_ptr<MappedFile>> open_table_file(const CounterTable::Options& options,
                                                    const Clock& clock);

// The options with every size in its range, or what is wrong with them.
Result<CounterTable::Options> check_options(const CounterTable::Options& options);

}  // namespace tenancy::counters
