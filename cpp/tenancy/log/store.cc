#include "tenancy/log/store.h"

#include <algorithm>

#include "tenancy/log/bytes.h"

namespace tenancy::log {
namespace {

constexpr uint64_t kKeyFileBytesMax = 4096;
constexpr uint32_t kEntrySealed = 1;
constexpr uint32_t kEntryCut = 2;
constexpr size_t kManifestEntryBytes = 64;
constexpr size_t kTenantEntryBytes = 64;

Error named(const std::string& path, const Error& error) {
  return {error.code, path + ": " + error.message};
}

Error contradiction(const char* what) {
  return {Code::kDamaged, std::string(what) + " contradicts itself"};
}

void erase(std::string* text) { cleanse({reinterpret_cast<uint8_t*>(text->data()), text->size()}); }

}  // namespace

Result<StoredKey> read_key(Files& files, const std::string& path) {
  Result<std::string> bytes = read_file(files, path, kKeyFileBytesMax);
  if (!bytes) return bytes.status();
  const Result<BlockView> block = parse_block(kKeyMagic, *bytes);
  if (!block) return named(path, block.error());
  ByteReader reader(block->content);
  const auto state = static_cast<KeyState>(reader.number<uint32_t>());
  reader.skip(4);
  EpochKey key(block->log_id, block->epoch, reader.bytes<Digest256>());
  if (!reader.ok() || state > KeyState::kVerification || !block->mac_is(key.file_key())) {
    return named(path, contradiction("the key file"));
  }
  erase(&*bytes);
  return StoredKey{key, state};
}

Status write_key(Files& files, const std::string& directory, const std::string& name,
                 const EpochKey& key, KeyState state) {
  std::string content;
  put(&content, static_cast<uint32_t>(state));
  put(&content, uint32_t{0});
  put_bytes(&content, key.secret());
  std::string block = make_block(kKeyMagic, key.log_id(), key.epoch(), key.file_key(), content);
  Status status = replace_file(files, directory, name, block);
  erase(&content);
  erase(&block);
  return status;
}

Result<Ed25519Seed> read_seed(Files& files, const std::string& path) {
  Result<std::string> bytes = read_file(files, path, kKeyFileBytesMax);
  if (!bytes) return bytes.status();
  const Result<BlockView> block = parse_block(kSignMagic, *bytes);
  if (!block) return named(path, block.error());
  ByteReader reader(block->content);
  const auto seed = reader.bytes<Ed25519Seed>();
  if (!reader.ok()) return named(path, contradiction("the signing key"));
  erase(&*bytes);
  return seed;
}

Status write_seed(Files& files, const std::string& directory, const LogId& log_id,
                  const FileKey& key, const Ed25519Seed& seed) {
  std::string block = make_block(kSignMagic, log_id, key.epoch, key.key, view_of(seed));
  Status status = replace_file(files, directory, "log.sign", block);
  erase(&block);
  return status;
}

std::string Manifest::block(const FileKey& key) const {
  std::string content;
  put(&content, generation);
  put(&content, made_ns);
  put_bytes(&content, public_key);
  put_bytes(&content, key_check);
  put(&content, uint64_t{0});
  for (size_t i = 0; i < kClasses; ++i) {
    put(&content, kept_from[i]);
    put(&content, static_cast<uint32_t>(segments[i].size()));
    put(&content, uint32_t{0});
    for (const ManifestEntry& entry : segments[i]) {
      put(&content, entry.first);
      put(&content, entry.end);
      put(&content, entry.offset);
      put(&content, entry.cut ? kEntryCut : kEntrySealed);
      put(&content, uint32_t{0});
      put_bytes(&content, entry.mac);
    }
  }
  return make_block(kManifestMagic, log_id, key.epoch, key.key, content);
}

Result<Manifest> Manifest::parse(const BlockView& block) {
  ByteReader reader(block.content);
  Manifest manifest;
  manifest.log_id = block.log_id;
  manifest.epoch = block.epoch;
  manifest.generation = reader.number<uint64_t>();
  manifest.made_ns = reader.number<int64_t>();
  manifest.public_key = reader.bytes<Ed25519Public>();
  manifest.key_check = reader.bytes<std::array<uint8_t, 16>>();
  reader.skip(8);
  for (size_t i = 0; i < kClasses; ++i) {
    manifest.kept_from[i] = reader.number<uint64_t>();
    const auto count = reader.number<uint32_t>();
    reader.skip(4);
    if (!reader.has(count, kManifestEntryBytes)) return contradiction("the manifest");
    for (uint32_t k = 0; k < count; ++k) {
      ManifestEntry entry;
      entry.first = reader.number<uint64_t>();
      entry.end = reader.number<uint64_t>();
      entry.offset = reader.number<uint64_t>();
      entry.cut = (reader.number<uint32_t>() & kEntryCut) != 0;
      reader.skip(4);
      entry.mac = reader.bytes<Tag>();
      manifest.segments[i].push_back(entry);
    }
  }
  if (!reader.ok()) return contradiction("the manifest");
  return manifest;
}

Result<Manifest> read_manifest(Files& files, const Paths& paths) {
  const std::string path = paths.log + "/manifest";
  const Result<std::string> bytes = read_file(files, path, kStateFileBytesMax);
  if (!bytes) return bytes.status();
  const Result<BlockView> block = parse_block(kManifestMagic, *bytes);
  if (!block) return named(path, block.error());
  Result<Manifest> manifest = Manifest::parse(*block);
  if (!manifest) return named(path, manifest.error());
  return manifest;
}

std::string Head::block(const LogId& log_id, const FileKey& key) const {
  std::string content;
  put(&content, generation);
  put(&content, time_ns);
  put(&content, checkpoints);
  put(&content, uint64_t{0});
  for (const HeadChain& chain : chains) {
    put(&content, chain.next_sequence);
    put(&content, chain.first);
    put(&content, chain.offset);
    put(&content, uint64_t{0});
    put_bytes(&content, chain.tag);
  }
  return make_block(kHeadMagic, log_id, key.epoch, key.key, content, kHeadSlotBytes);
}

Result<Head> Head::parse(const BlockView& block) {
  ByteReader reader(block.content);
  Head head;
  head.generation = reader.number<uint64_t>();
  head.time_ns = reader.number<int64_t>();
  head.checkpoints = reader.number<uint64_t>();
  reader.skip(8);
  for (HeadChain& chain : head.chains) {
    chain.next_sequence = reader.number<uint64_t>();
    chain.first = reader.number<uint64_t>();
    chain.offset = reader.number<uint64_t>();
    reader.skip(8);
    chain.tag = reader.bytes<Tag>();
  }
  if (!reader.ok()) return contradiction("the head");
  return head;
}

const HeadSlots::Slot* HeadSlots::best() const {
  const Slot* best = nullptr;
  for (const Slot& slot : slots) {
    if (slot.empty || slot.torn) continue;
    if (best == nullptr || slot.head.generation > best->head.generation) best = &slot;
  }
  return best;
}

Result<HeadSlots> read_head(Files& files, const Paths& paths) {
  const Result<std::string> bytes =
      read_file(files, paths.log + "/head", kHeadSlots * kHeadSlotBytes);
  if (!bytes) return bytes.status();
  HeadSlots out;
  for (size_t i = 0; i < kHeadSlots; ++i) {
    HeadSlots::Slot& slot = out.slots[i];
    if (bytes->size() > i * kHeadSlotBytes) {
      slot.bytes = bytes->substr(i * kHeadSlotBytes, kHeadSlotBytes);
    }
    slot.empty = slot.bytes.find_first_not_of('\0') == std::string::npos;
    if (slot.empty) continue;
    const Result<BlockView> block = parse_block(kHeadMagic, slot.bytes);
    const Result<Head> head = block ? Head::parse(*block) : Result<Head>(block.error());
    slot.torn = !head || block->bytes.size() != kHeadSlotBytes;
    if (head) slot.head = *head;
  }
  return out;
}

Status HeadFile::create(const LogId& log_id, const FileKey& key, const Head& head) {
  std::string slots = head.block(log_id, key);
  slots.insert(0, 2 * kHeadSlotBytes, '\0');
  slots.append(kHeadSlotBytes, '\0');
  return replace_file(files_, paths_.log, "head", slots);
}

Status HeadFile::load() {
  file_.reset();
  const Result<HeadSlots> found = read_head(files_, paths_);
  if (!found) return found.status();
  generation_ = 0;
  const auto better = [&](size_t a, size_t b) {
    const auto& left = found->slots[a];
    const auto& right = found->slots[b];
    if (left.empty || left.torn) return false;
    return right.empty || right.torn || left.head.generation > right.head.generation;
  };
  next_passing_ = better(0, 1) ? 1 : 0;
  next_durable_ = better(2, 3) ? 3 : 2;
  if (const HeadSlots::Slot* best = found->best()) generation_ = best->head.generation;
  Result<std::unique_ptr<File>> file = files_.open(paths_.log + "/head", OpenMode::kReadWrite);
  if (!file) return file.status();
  file_ = std::move(*file);
  return {};
}

Status HeadFile::write(const LogId& log_id, const FileKey& key, Head head, bool durable) {
  if (file_ == nullptr) {
    if (Status status = load(); !status) return status;
  }
  head.generation = ++generation_;
  const size_t slot = durable ? next_durable_ : next_passing_;
  Status status = file_->write_at(slot * kHeadSlotBytes, head.block(log_id, key));
  if (status && durable) status = file_->sync();
  if (!status) {
    file_.reset();  // opened afresh: a descriptor whose sync failed is never used again
    return status;
  }
  (durable ? next_durable_ : next_passing_) ^= 1;
  return {};
}

std::string TenantsFile::content() const {
  std::string out;
  put(&out, checkpoint);
  for (size_t i = 0; i < kClasses; ++i) {
    put(&out, next_sequence[i]);
    put(&out, uint64_t{entries[i].size()});
  }
  for (const auto& chain : entries) {
    for (const TenantEntry& entry : chain) put_entry(&out, entry);
  }
  return out;
}

Result<TenantsFile> TenantsFile::parse(std::string_view content) {
  ByteReader reader(content);
  TenantsFile out;
  out.checkpoint = reader.number<uint64_t>();
  std::array<uint64_t, kClasses> counts{};
  for (size_t i = 0; i < kClasses; ++i) {
    out.next_sequence[i] = reader.number<uint64_t>();
    counts[i] = reader.number<uint64_t>();
  }
  for (size_t i = 0; i < kClasses; ++i) {
    if (!reader.has(counts[i], kTenantEntryBytes)) return contradiction("the file of tenants");
    out.entries[i].reserve(counts[i]);
    for (uint64_t k = 0; k < counts[i]; ++k) {
      out.entries[i].push_back(get_entry(reader.rest().data()));
      reader.skip(kTenantEntryBytes);
    }
  }
  if (!reader.ok()) return contradiction("the file of tenants");
  return out;
}

}  // namespace tenancy::log
