// Memory of results: where long results of money lie, and what becomes of it afterwards.
//
// The kernel clears every page that it gives, which takes as long as pricing what goes there. So
// one piece of memory of 8 MiB to 1 GiB, the last one of these that was freed, is kept for the next
// result of about its size. Meanwhile the kernel may take its pages back whenever memory is short
// (MADV_FREE); until then they count as memory of this process. Where the kernel does not know
// that, nothing is kept.
//
// What was kept still holds old amounts or zeros, in no order: like all new memory, it is written
// before it is read.
//
// Thread safety: safe from any thread; memory may be freed by another thread than its first one's.
// No lock is held, so a forked child may go on with its copy, and nothing is destroyed when the
// process ends, so results may outlive everything else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "tenancy/base/int128.h"

namespace tenancy {

inline constexpr size_t kUnitBytesKeptMin = size_t{8} << 20;
inline constexpr size_t kUnitBytesKeptMax = size_t{1} << 30;

// Memory for `count` numbers, not initialised; in huge pages where the system gives them.
std::shared_ptr<Int128> allocate_units(int64_t count);

// How much is kept at this moment.
size_t unit_bytes_kept();

}  // namespace tenancy
