#include "tenancy/log/segment.h"

#include <algorithm>
#include <bit>
#include <charconv>

#include "tenancy/log/bytes.h"

namespace tenancy::log {
namespace {

constexpr uint32_t kMajor = 1;
constexpr uint32_t kMinor = 0;
constexpr size_t kSequenceDigits = 20;
constexpr std::string_view kSegmentSuffix = ".seg";
constexpr std::string_view kStubSuffix = ".stub";
constexpr size_t kEntryBytes = 64;

std::vector<Digest256> get_hashes(ByteReader* reader, uint32_t count) {
  std::vector<Digest256> hashes;
  if (!reader->has(count, sizeof(Digest256))) return hashes;
  hashes.reserve(count);
  for (uint32_t i = 0; i < count; ++i) hashes.push_back(reader->bytes<Digest256>());
  return hashes;
}

std::string file_name(Class chain, uint64_t first, std::string_view suffix) {
  std::string digits = std::to_string(first);
  digits.insert(0, kSequenceDigits - digits.size(), '0');
  return std::string(class_name(chain)) + "-" + digits + std::string(suffix);
}

std::optional<SegmentName> parse_name(std::string_view name, std::string_view suffix) {
  const size_t dash = name.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const std::optional<Class> chain = class_from_name(name.substr(0, dash));
  const std::string_view rest = name.substr(dash + 1);
  if (!chain || rest.size() != kSequenceDigits + suffix.size() ||
      rest.substr(kSequenceDigits) != suffix) {
    return std::nullopt;
  }
  SegmentName out{*chain, 0};
  const char* const end = rest.data() + kSequenceDigits;
  const auto [at, error] = std::from_chars(rest.data(), end, out.first);
  if (error != std::errc() || at != end) return std::nullopt;
  return out;
}

}  // namespace

bool BlockView::mac_is(const HmacKey& file_key) const {
  const std::string_view maced = bytes.substr(0, bytes.size() - kBlockTailBytes);
  return equal_constant_time(as_view(file_key.mac(maced)), bytes.substr(maced.size(), sizeof(Tag)));
}

Tag BlockView::mac() const { return get_bytes<Tag>(bytes.data() + bytes.size() - kBlockTailBytes); }

std::string make_block(std::string_view magic, const LogId& log_id, uint32_t epoch,
                       const HmacKey& file_key, std::string_view content, size_t bytes_min) {
  const size_t bytes = std::max(bytes_min, kBlockHeadBytes + content.size() + kBlockTailBytes);
  std::string block;
  block.reserve(bytes);
  block.append(magic);
  put(&block, kMajor);
  put(&block, kMinor);
  put(&block, static_cast<uint32_t>(bytes));
  put(&block, epoch);
  put_bytes(&block, log_id);
  block.append(content);
  block.resize(bytes - kBlockTailBytes);
  put_bytes(&block, file_key.mac(block));
  put(&block, crc32c(block));
  return block;
}

Result<BlockView> parse_block(std::string_view magic, std::string_view bytes) {
  if (bytes.size() < kBlockHeadBytes + kBlockTailBytes) {
    return Error{Code::kDamaged, "expected a block of at least 76 bytes, found " +
                                     std::to_string(bytes.size()) + " bytes"};
  }
  if (bytes.substr(0, magic.size()) != magic) {
    return Error{Code::kForeign,
                 "expected a block that begins with " + std::string(magic.substr(0, 7))};
  }
  const auto length = get<uint32_t>(bytes.data() + 16);
  if (length < kBlockHeadBytes + kBlockTailBytes || length > bytes.size()) {
    return Error{Code::kDamaged, "a block of " + std::to_string(length) + " bytes in " +
                                     std::to_string(bytes.size())};
  }
  bytes = bytes.substr(0, length);
  if (get<uint32_t>(bytes.data() + length - 4) != crc32c(bytes.substr(0, length - 4))) {
    return Error{Code::kDamaged, "the checksum of the block is wrong"};
  }
  // After the checksum: a flipped bit in the version is damage, not another version.
  const auto major = get<uint32_t>(bytes.data() + 8);
  if (major != kMajor) {
    return Error{Code::kVersion, "format version " + std::to_string(major) +
                                     ", this program reads 1; run: tenancy migrate"};
  }
  BlockView view;
  view.bytes = bytes;
  view.content = bytes.substr(kBlockHeadBytes, length - kBlockHeadBytes - kBlockTailBytes);
  view.epoch = get<uint32_t>(bytes.data() + 20);
  view.log_id = get_bytes<LogId>(bytes.data() + 24);
  return view;
}

std::string SegmentHeader::content() const {
  std::string out;
  put(&out, static_cast<uint8_t>(chain));
  put(&out, static_cast<uint8_t>(previous_cut ? 1 : 0));
  out.append(2, '\0');
  put(&out, epoch);
  put(&out, first);
  put(&out, previous_first);
  put(&out, previous_cut_at);
  put_bytes(&out, previous);
  put(&out, static_cast<uint32_t>(frontier.size()));
  for (const Digest256& hash : frontier) put_bytes(&out, hash);
  return out;
}

Result<SegmentHeader> SegmentHeader::parse(std::string_view content) {
  ByteReader reader(content);
  SegmentHeader header;
  header.chain = static_cast<Class>(reader.number<uint8_t>());
  header.previous_cut = (reader.number<uint8_t>() & 1) != 0;
  reader.skip(2);
  header.epoch = reader.number<uint32_t>();
  header.first = reader.number<uint64_t>();
  header.previous_first = reader.number<uint64_t>();
  header.previous_cut_at = reader.number<uint64_t>();
  header.previous = reader.bytes<Tag>();
  header.frontier = get_hashes(&reader, reader.number<uint32_t>());
  if (!reader.ok() || index(header.chain) >= kClasses ||
      header.frontier.size() != static_cast<size_t>(std::popcount(header.first))) {
    return Error{Code::kDamaged, "the header of the segment contradicts itself"};
  }
  return header;
}

std::string SegmentFooter::content() const {
  std::string out;
  out.reserve(72 + range.size() * sizeof(Digest256) + tenants.size() * kEntryBytes);
  put(&out, static_cast<uint8_t>(chain));
  out.append(7, '\0');
  put(&out, first);
  put(&out, count);
  put(&out, offset);
  put_bytes(&out, last);
  put(&out, static_cast<uint32_t>(range.size()));
  put(&out, static_cast<uint32_t>(tenants.size()));
  for (const Digest256& hash : range) put_bytes(&out, hash);
  for (const TenantEntry& entry : tenants) put_entry(&out, entry);
  return out;
}

Result<SegmentFooter> SegmentFooter::parse(std::string_view content) {
  ByteReader reader(content);
  SegmentFooter footer;
  footer.chain = static_cast<Class>(reader.number<uint8_t>());
  reader.skip(7);
  footer.first = reader.number<uint64_t>();
  footer.count = reader.number<uint64_t>();
  footer.offset = reader.number<uint64_t>();
  footer.last = reader.bytes<Tag>();
  const auto hashes = reader.number<uint32_t>();
  const auto entries = reader.number<uint32_t>();
  footer.range = get_hashes(&reader, hashes);
  if (reader.has(entries, kEntryBytes)) {
    footer.tenants.reserve(entries);
    for (uint32_t i = 0; i < entries; ++i) {
      footer.tenants.push_back(get_entry(reader.rest().data()));
      reader.skip(kEntryBytes);
    }
  }
  if (!reader.ok() || index(footer.chain) >= kClasses) {
    return Error{Code::kDamaged, "the footer of the segment contradicts itself"};
  }
  return footer;
}

std::string segment_name(Class chain, uint64_t first) {
  return file_name(chain, first, kSegmentSuffix);
}

std::optional<SegmentName> parse_segment_name(std::string_view name) {
  return parse_name(name, kSegmentSuffix);
}

std::string stub_name(Class chain, uint64_t first) { return file_name(chain, first, kStubSuffix); }

std::optional<SegmentName> parse_stub_name(std::string_view name) {
  return parse_name(name, kStubSuffix);
}

void put_entry(std::string* out, const TenantEntry& entry) {
  put_bytes(out, entry.key);
  put(out, entry.sequence);
  put_bytes(out, entry.tag);
}

TenantEntry get_entry(const char* bytes) {
  TenantEntry entry;
  entry.key = get_bytes<TenantKey>(bytes);
  entry.sequence = get<uint64_t>(bytes + 24);
  entry.tag = get_bytes<Tag>(bytes + 32);
  return entry;
}

}  // namespace tenancy::log
