#include "tenancy/log/stub.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "tenancy/log/bytes.h"
#include "tenancy/log/segment_reader.h"
#include "tenancy/log/tenant_keys.h"

namespace tenancy::log {
namespace {

Error contradiction(const std::string& what) {
  return {Code::kDamaged, "the stub contradicts itself: " + what};
}

// A segment that is read once more before its records go.
class SegmentScan {
 public:
  SegmentScan(const std::string& name, const LogId& log_id, Class chain, const ManifestEntry& entry)
      : name_(name), log_id_(log_id), chain_(chain), entry_(entry), range_(entry.first) {}

  Status run(SegmentReader& reader);
  const std::string& header() const { return header_; }
  // What a footer over these records says.
  SegmentFooter footer() const;

 private:
  Status open(SegmentReader& reader);
  bool add(const RecordView& record);
  Error damaged(const std::string& what) const {
    return {Code::kDamaged, name_ + ": " + what + "; it is kept. Run: tenancy audit verify"};
  }

  const std::string& name_;
  const LogId& log_id_;
  const Class chain_;
  const ManifestEntry& entry_;
  std::string header_;
  CompactRange range_;
  Tag tag_{};
  std::map<TenantKey, TenantEntry> tenants_;
  TenantKeyCache keys_;
};

Status SegmentScan::open(SegmentReader& reader) {
  const Result<BlockView> block = reader.header();
  if (!block) return damaged(block.error().message);
  const Result<SegmentHeader> header = SegmentHeader::parse(block->content);
  if (!header) return damaged(header.error().message);
  if (block->log_id != log_id_ || header->chain != chain_ || header->first != entry_.first) {
    return damaged("its header is not that of this segment");
  }
  header_ = block->bytes;
  tag_ = header->previous;
  return {};
}

bool SegmentScan::add(const RecordView& record) {
  if (record.log_id() != log_id_ || record.chain_code() != index(chain_) ||
      record.sequence() != range_.end() || record.previous() != tag_) {
    return false;
  }
  range_.append(leaf_hash(record.leaf()));
  tag_ = record.tag();
  if (const auto tenant = record.tenant()) {
    const TenantKey& key = keys_.get(log_id_, chain_, *tenant);
    tenants_[key] = {key, record.tenant_sequence(), tag_};
  }
  return true;
}

Status SegmentScan::run(SegmentReader& reader) {
  if (Status status = open(reader); !status) return status;
  SegmentReader::Item item;
  while (true) {
    if (Status status = reader.next(&item); !status) return status;
    if (item.offset >= entry_.offset) break;
    if (item.step != SegmentReader::Step::kRecord || !add(item.record)) {
      return damaged("expected record " + std::to_string(range_.end()) + " at offset " +
                     std::to_string(item.offset));
    }
  }
  if (item.offset != entry_.offset || range_.end() != entry_.end) {
    return damaged("its records do not end where the manifest says");
  }
  return {};
}

SegmentFooter SegmentScan::footer() const {
  SegmentFooter footer;
  footer.chain = chain_;
  footer.first = entry_.first;
  footer.count = entry_.end - entry_.first;
  footer.offset = entry_.offset;
  footer.last = tag_;
  footer.range = range_.hashes();
  for (const auto& [key, entry] : tenants_) footer.tenants.push_back(entry);
  return footer;
}

}  // namespace

Result<StubBlocks> split_stub(std::string_view bytes) {
  const Result<BlockView> header = parse_block(kSegmentMagic, bytes);
  if (!header) return header.status();
  if (header->bytes.size() != kSegmentHeaderBytes) {
    return Error{Code::kDamaged, "expected a header of 4096 bytes"};
  }
  const Result<BlockView> footer = parse_block(kFooterMagic, bytes.substr(kSegmentHeaderBytes));
  if (!footer) return footer.status();
  if (kSegmentHeaderBytes + footer->bytes.size() != bytes.size()) {
    return Error{Code::kDamaged, "the file goes on behind the footer"};
  }
  return StubBlocks{*header, *footer};
}

Result<Stub> parse_stub(std::string_view bytes) {
  const Result<StubBlocks> blocks = split_stub(bytes);
  if (!blocks) return blocks.status();
  Result<SegmentHeader> header = SegmentHeader::parse(blocks->header.content);
  if (!header) return header.status();
  Result<SegmentFooter> footer = SegmentFooter::parse(blocks->footer.content);
  if (!footer) return footer.status();
  if (blocks->header.log_id != blocks->footer.log_id || header->chain != footer->chain ||
      header->first != footer->first) {
    return contradiction("header and footer are of two segments");
  }
  if (footer->count == 0 || footer->count > kNoSequence - footer->first ||
      footer->offset <= kSegmentHeaderBytes) {
    return contradiction("it stands for no records");
  }
  Result<CompactRange> range =
      CompactRange::of(footer->first, footer->first + footer->count, footer->range);
  if (!range) return contradiction(range.error().message);
  const uint64_t segment_bytes = footer->offset + blocks->footer.bytes.size();
  return Stub{std::move(*header), std::move(*footer), std::move(*range), segment_bytes,
              sha256(bytes)};
}

Result<Stub> read_stub(Files& files, const std::string& segments, Class chain, uint64_t first) {
  const std::string path = segments + "/" + stub_name(chain, first);
  const Result<std::string> bytes = read_file(files, path, kStateFileBytesMax);
  if (!bytes) return bytes.status();
  Result<Stub> stub = parse_stub(*bytes);
  if (!stub) return Error{stub.error().code, path + ": " + stub.error().message};
  if (stub->header.chain != chain || stub->first() != first) {
    return Error{Code::kDamaged, path + ": is the stub of another segment"};
  }
  return stub;
}

Digest256 stubs_hash(std::span<const Digest256> stubs) {
  Sha256 hash;
  for (const Digest256& stub : stubs) hash.add(as_view(stub));
  return hash.finish();
}

Result<std::string> make_stub(Files& files, const std::string& segments, const LogId& log_id,
                              Class chain, const ManifestEntry& entry, const FileKey& key) {
  const std::string name = segments + "/" + segment_name(chain, entry.first);
  Result<SegmentReader> reader = SegmentReader::open(files, name);
  if (!reader) return reader.status();
  SegmentScan scan(name, log_id, chain, entry);
  if (Status status = scan.run(*reader); !status) return status;
  const std::string content = scan.footer().content();
  if (entry.cut) {
    return scan.header() + make_block(kFooterMagic, log_id, key.epoch, key.key, content);
  }
  const Result<BlockView> footer = reader->footer(entry.offset);
  if (!footer || footer->content != content || footer->mac() != entry.mac) {
    return Error{Code::kDamaged, name +
                                     ": its seal does not agree with its records or the "
                                     "manifest; it is kept. Run: tenancy audit verify"};
  }
  return scan.header() + std::string(footer->bytes);
}

}  // namespace tenancy::log
