// The bytes of `keys/subjects` and `keys/subjects.erasing`. Internal. (LOG_FORMAT.md, 3.2)
//
// Thread safety: plain values and free functions without state.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tenancy/base/crypto.h"
#include "tenancy/base/status.h"
#include "tenancy/log/types.h"

namespace tenancy::log {

using SubjectKeyId = std::array<uint8_t, 16>;

// Header and slots have the same size, so that a slot lies within one sector of a disk: overwriting
// it destroys the whole key or nothing.
constexpr size_t kSubjectSlotBytes = 128;

enum class SubjectState : uint32_t {
  kLive = 1,     // seals and opens
  kErasing = 2,  // its erasure was begun: neither seals nor opens any more
  kErased = 3,   // the key is gone
};

struct SubjectSlot {
  SubjectKeyId id{};
  Digest256 name{};  // of the subject; zeros once erased
  AesKey key{};      // zeros once erased
  SubjectState state = SubjectState::kLive;
  uint64_t sequence = 0;  // of the `erased` record in chain 0, once erased

  std::string bytes() const;
  // Nothing when the checksum or the state is not right.
  static std::optional<SubjectSlot> parse(std::string_view bytes);
};

struct SubjectsHeader {
  LogId log_id{};
  Digest256 secret{};  // makes names of subjects

  std::string bytes() const;
  // kDamaged, kForeign (not such a file), kVersion.
  static Result<SubjectsHeader> parse(std::string_view bytes);
  // What stands for a subject of that tenant in a slot, so that the file names nobody.
  Digest256 name(std::optional<std::string_view> tenant, std::string_view subject) const;
};

// An erasure that was begun. As long as the file is there, it is not known to be finished.
struct Erasing {
  SubjectKeyId id{};
  uint64_t from = 0;  // its record is not before this sequence of chain 0
  int64_t time_ns = 0;
  std::optional<std::string> tenant{};
  std::string by;
  std::string reason;

  std::string bytes() const;
  static Result<Erasing> parse(std::string_view bytes);
};

}  // namespace tenancy::log
