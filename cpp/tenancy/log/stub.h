// Stubs: what is left of a segment whose records were pruned. Internal. (LOG_FORMAT.md, 6.4)
//
// Thread safety: plain values; free functions without state.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "tenancy/base/status.h"
#include "tenancy/log/io.h"
#include "tenancy/log/keyring.h"
#include "tenancy/log/merkle.h"
#include "tenancy/log/segment.h"
#include "tenancy/log/store.h"

namespace tenancy::log {

// The two blocks of a stub; they point into its bytes.
struct StubBlocks {
  BlockView header;
  BlockView footer;
};
// kDamaged unless the bytes are two whole blocks and nothing else.
Result<StubBlocks> split_stub(std::string_view bytes);

struct Stub {
  SegmentHeader header;
  SegmentFooter footer;
  CompactRange range;          // the tree over its records
  uint64_t segment_bytes = 0;  // of the segment that it stands for
  Digest256 hash{};            // of the file

  uint64_t first() const { return footer.first; }
  uint64_t end() const { return footer.first + footer.count; }
};
// kDamaged also when header and footer do not belong together. MACs are not looked at.
Result<Stub> parse_stub(std::string_view bytes);
Result<Stub> read_stub(Files& files, const std::string& segments, Class chain, uint64_t first);

// What field 270 of a `pruned` record says.
Digest256 stubs_hash(std::span<const Digest256> stubs);

// The stub of a segment, after its records were read from end to end: kDamaged when they are not
// those that its footer and the manifest speak of. A segment that was cut gets a footer with `key`.
Result<std::string> make_stub(Files& files, const std::string& segments, const LogId& log_id,
                              Class chain, const ManifestEntry& entry, const FileKey& key);

}  // namespace tenancy::log
