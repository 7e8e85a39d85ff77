// The small files of a log: keys, manifest, head, tenants. Internal. (LOG_FORMAT.md, 3, 7, 8.3)
//
// Thread safety: plain values; HeadFile belongs to one thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tenancy/base/status.h"
#include "tenancy/log/io.h"
#include "tenancy/log/keyring.h"
#include "tenancy/log/keys.h"
#include "tenancy/log/segment.h"

namespace tenancy::log {

constexpr uint64_t kStateFileBytesMax = uint64_t{1} << 32;

struct Paths {
  explicit Paths(const std::string& data_directory)
      : log(data_directory + "/log"), segments(log + "/segments"), keys(data_directory + "/keys") {}
  // Of a log directory that is looked at alone.
  static Paths of_log(const std::string& log_directory) {
    Paths paths("");
    paths.log = log_directory;
    paths.segments = log_directory + "/segments";
    return paths;
  }
  std::string log;
  std::string segments;
  std::string keys;
};

enum class KeyState : uint32_t { kProvisional = 0, kInForce = 1, kVerification = 2 };
struct StoredKey {
  EpochKey key;
  KeyState state;
};
Result<StoredKey> read_key(Files& files, const std::string& path);
Status write_key(Files& files, const std::string& directory, const std::string& name,
                 const EpochKey& key, KeyState state);
Result<Ed25519Seed> read_seed(Files& files, const std::string& path);
Status write_seed(Files& files, const std::string& directory, const LogId& log_id,
                  const FileKey& key, const Ed25519Seed& seed);

struct ManifestEntry {
  uint64_t first = 0;
  uint64_t end = 0;     // the sequence behind its last record
  uint64_t offset = 0;  // where its records end
  bool cut = false;     // else sealed
  Tag mac{};            // of the footer
};

struct Manifest {
  LogId log_id{};
  uint32_t epoch = 0;
  uint64_t generation = 0;
  int64_t made_ns = 0;
  Ed25519Public public_key{};
  std::array<uint8_t, 16> key_check{};
  std::array<uint64_t, kClasses> kept_from{};
  std::array<std::vector<ManifestEntry>, kClasses> segments{};

  std::string block(const FileKey& key) const;
  static Result<Manifest> parse(const BlockView& block);
};
Result<Manifest> read_manifest(Files& files, const Paths& paths);

struct HeadChain {
  uint64_t next_sequence = 0;
  uint64_t first = kNoSequence;
  uint64_t offset = 0;
  Tag tag{};
};
struct Head {
  uint64_t generation = 0;
  int64_t time_ns = 0;
  uint64_t checkpoints = 0;
  std::array<HeadChain, kClasses> chains{};

  std::string block(const LogId& log_id, const FileKey& key) const;
  static Result<Head> parse(const BlockView& block);
};

constexpr size_t kHeadSlots = 4;
constexpr size_t kHeadSlotBytes = 4096;

// The slots as they are: each is a head, or empty (never written), or torn.
struct HeadSlots {
  struct Slot {
    bool empty = true;
    bool torn = false;
    std::string bytes;
    Head head;
  };
  std::array<Slot, kHeadSlots> slots;
  const Slot* best() const;  // of the greatest generation; null when there is none
};
Result<HeadSlots> read_head(Files& files, const Paths& paths);

// Writes heads, so that one that was synced is there whatever a power cut tears.
class HeadFile {
 public:
  HeadFile(Files& files, const Paths& paths) : files_(files), paths_(paths) {}
  Status create(const LogId& log_id, const FileKey& key, const Head& head);
  Status load();  // the generation to go on from
  // `durable`: returns when it is synced.
  Status write(const LogId& log_id, const FileKey& key, Head head, bool durable);

 private:
  Files& files_;
  Paths paths_;
  std::unique_ptr<File> file_;
  uint64_t generation_ = 0;
  size_t next_passing_ = 0;  // 0 or 1
  size_t next_durable_ = 2;  // 2 or 3
};

struct TenantsFile {
  uint64_t checkpoint = 0;
  std::array<uint64_t, kClasses> next_sequence{};
  std::array<std::vector<TenantEntry>, kClasses> entries{};

  std::string content() const;
  static Result<TenantsFile> parse(std::string_view content);
};

}  // namespace tenancy::log
