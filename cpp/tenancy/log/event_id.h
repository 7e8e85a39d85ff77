// Event ids: UUIDv7 (RFC 9562) without a system call for each. Internal.
//
// Thread safety: any thread; a forked child draws afresh.
#pragma once

#include <array>
#include <cstdint>

namespace tenancy::log {

std::array<uint8_t, 16> new_event_id(int64_t time_ns);

}  // namespace tenancy::log
