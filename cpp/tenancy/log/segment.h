// Blocks, and those of a segment: header, footer, names. Internal. (LOG_FORMAT.md, 4 and 6)
//
// Thread safety: plain values; free functions without state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/base/crypto.h"
#include "tenancy/base/status.h"
#include "tenancy/log/types.h"

namespace tenancy::log {

constexpr size_t kBlockHeadBytes = 40;
constexpr size_t kBlockTailBytes = 36;
constexpr size_t kSegmentHeaderBytes = 4096;

constexpr std::string_view kManifestMagic{"TNCYMAN\0", 8};
constexpr std::string_view kHeadMagic{"TNCYHED\0", 8};
constexpr std::string_view kSegmentMagic{"TNCYSEG\0", 8};
constexpr std::string_view kFooterMagic{"TNCYEND\0", 8};
constexpr std::string_view kTenantsMagic{"TNCYTEN\0", 8};
constexpr std::string_view kKeyMagic{"TNCYKEY\0", 8};
constexpr std::string_view kSignMagic{"TNCYSIG\0", 8};

// A block as it was found, its length and CRC right.
struct BlockView {
  std::string_view bytes;    // all of it
  std::string_view content;  // without head, MAC and CRC
  uint32_t epoch = 0;
  LogId log_id{};

  bool mac_is(const HmacKey& file_key) const;
  Tag mac() const;
};

// Head, `content`, zeros up to `bytes_min`, MAC, CRC.
std::string make_block(std::string_view magic, const LogId& log_id, uint32_t epoch,
                       const HmacKey& file_key, std::string_view content, size_t bytes_min = 0);
// The block that `bytes` begins with. kForeign: another magic; kVersion: another major version;
// kDamaged: length or CRC.
Result<BlockView> parse_block(std::string_view magic, std::string_view bytes);

struct SegmentHeader {
  Class chain = Class::kSecurity;
  bool previous_cut = false;
  uint32_t epoch = 0;  // of the next record
  uint64_t first = 0;
  uint64_t previous_first = kNoSequence;
  uint64_t previous_cut_at = 0;
  Tag previous{};
  std::vector<Digest256> frontier{};

  std::string content() const;
  static Result<SegmentHeader> parse(std::string_view content);
};

struct SegmentFooter {
  Class chain = Class::kSecurity;
  uint64_t first = 0;
  uint64_t count = 0;
  uint64_t offset = 0;
  Tag last{};
  std::vector<Digest256> range{};
  std::vector<TenantEntry> tenants{};  // ascending by key

  std::string content() const;
  static Result<SegmentFooter> parse(std::string_view content);
};

// "security-00000000000000000000.seg"
std::string segment_name(Class chain, uint64_t first);
struct SegmentName {
  Class chain = Class::kSecurity;
  uint64_t first = 0;
};
std::optional<SegmentName> parse_segment_name(std::string_view name);
// The same with ".stub". (LOG_FORMAT.md, 6.4)
std::string stub_name(Class chain, uint64_t first);
std::optional<SegmentName> parse_stub_name(std::string_view name);

void put_entry(std::string* out, const TenantEntry& entry);
TenantEntry get_entry(const char* bytes);

}  // namespace tenancy::log
