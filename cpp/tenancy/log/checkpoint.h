// Checkpoints: signed notes over the heads of all chains. (LOG_FORMAT.md, 8.4)
//
// Thread safety: plain values; free functions without state.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/base/crypto.h"
#include "tenancy/base/status.h"
#include "tenancy/log/types.h"

namespace tenancy::log {

struct ChainHead {
  uint64_t size = 0;
  Digest256 root{};
  uint64_t tenants = 0;
  Digest256 tenants_root{};

  friend bool operator==(const ChainHead&, const ChainHead&) = default;
};

struct Checkpoint {
  std::string origin;   // "tenancy-log/<log id>"
  uint64_t number = 0;  // the tree of checkpoints has number + 1 leaves
  Digest256 root{};     // of the tree of checkpoints
  std::array<ChainHead, kClasses> chains{};
  uint32_t epoch = 0;
  int64_t time_ns = 0;

  // The five lines that are a leaf of the tree of checkpoints.
  std::string leaf() const;
  // The text that is signed.
  std::string text() const;
};

std::string log_origin(const LogId& log_id);

// "<name>+<key hash>+<base64>", one line without its end.
std::string verifier_key(std::string_view name, const Ed25519Public& key);
struct VerifierKey {
  std::string name;
  Ed25519Public key{};
};
Result<VerifierKey> parse_verifier_key(std::string_view text);

std::string sign_note(const Checkpoint& checkpoint, const Ed25519Seed& seed,
                      const Ed25519Public& key);
// Checks form and signature; other signatures (witnesses') are skipped. kDamaged: not a checkpoint
// in the form of 8.4; kForeign: of another log; kConflict: the signature is not this key's.
Result<Checkpoint> open_note(std::string_view note, const VerifierKey& key);

constexpr uint64_t kCheckpointsBytesMax = uint64_t{1} << 32;  // of the file `checkpoints`
// Its frames: notes in order. `*end` is where the last whole frame ends;
// beyond it lies a torn frame or nothing.
std::vector<std::string_view> split_checkpoints(std::string_view file, uint64_t* end);
std::string frame_checkpoint(std::string_view note);

}  // namespace tenancy::log
