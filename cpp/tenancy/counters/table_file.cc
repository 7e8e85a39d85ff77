#include "tenancy/counters/table_file.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <string_view>
#include <utility>

#include "tenancy/base/crypto.h"
#include "tenancy/base/hash.h"
#include "tenancy/counters/blocks.h"
#include "tenancy/counters/generation.h"
#include "tenancy/counters/table_time.h"

namespace tenancy::counters {
namespace {

// The first bytes of every version's file.
constexpr std::string_view kMagicText("TNCYCNT", 8);  // NOLINT: the eighth is the literal's NUL

FileHeader* header_of(const MappedFile& file) { return reinterpret_cast<FileHeader*>(file.data()); }

uint64_t identity_check(const FileHeader& header) {
  const std::array<uint64_t, 6> words{header.version.load(),      kByteOrder,
                                      header.header_bytes.load(), header.hash_key0.load(),
                                      header.hash_key1.load(),    header.created_wall_ns.load()};
  return siphash(HashKey{},
                 std::string_view(reinterpret_cast<const char*>(words.data()), sizeof(words)));
}

bool is_all_zero(const FileHeader& header) {
  const auto* const bytes = reinterpret_cast<const char*>(&header);
  return std::all_of(bytes, bytes + sizeof(FileHeader), [](char byte) { return byte == 0; });
}

// A file whose maker died before the last store of make_header.
bool was_never_valid(const FileHeader& header) {
  return header.magic.load() == 0 && (header.byte_order.load() == kMaking || is_all_zero(header));
}

void make_header(FileHeader* header, const Clock& clock) {
  header->byte_order.store(kMaking);
  header->version.store(kMajor << 32 | kMinor);
  header->header_bytes.store(sizeof(FileHeader));
  header->hash_key0.store(random_u64());
  header->hash_key1.store(random_u64());
  header->created_wall_ns.store(static_cast<uint64_t>(clock.wall_ns()));
  header->process_slots_used.store(1);
  header->identity_check.store(identity_check(*header));
  TableTime(header, &clock).begin_boot();
  header->magic.store(kMagic);
  header->byte_order.store(kByteOrder);
}

uint64_t size_on_disk(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? static_cast<uint64_t>(info.st_size) : 0;
}

class Checker {
 public:
  Checker(MappedFile& file, uint64_t file_bytes)
      : file_(file), header_(header_of(file)), file_bytes_(file_bytes) {}

  Status check() {
    if (Status status = check_identity(); !status) return status;
    if (Status status = check_blocks(); !status) return status;
    for (size_t entry = 0; entry < kEntries; ++entry) {
      if (Status status = check_entry(entry); !status) return status;
    }
    return {};
  }

 private:
  Status damaged(const std::string& what) const {
    return {Code::kDamaged,
            file_.path() + ": the counter file is damaged: " + what +
                "; move it away and counting starts afresh (limits and usage since then are lost)"};
  }

  Status check_identity() const {
    if (header_->magic.load() != kMagic) {
      return {Code::kForeign,
              file_.path() + ": not a counter file: it begins with zeros but is not empty"};
    }
    const uint64_t major = header_->version.load() >> 32;
    const uint64_t minor = header_->version.load() & 0xffffffff;
    // A maker that dies between the last two stores leaves a complete header.
    if (header_->byte_order.load() == kMaking) header_->byte_order.store(kByteOrder);
    if (header_->byte_order.load() != kByteOrder) {
      return {Code::kUnsupported,
              file_.path() +
                  ": written on a machine of another byte order; counters cannot be "
                  "carried over, move the file away"};
    }
    if (major != kMajor) {
      return {Code::kVersion,
              file_.path() + ": counter file of format " + std::to_string(major) + "." +
                  std::to_string(minor) + ", this release reads " + std::to_string(kMajor) +
                  ".x; stop all workers and run `tenancy migrate` on its data directory"};
    }
    if (header_->identity_check.load() != identity_check(*header_)) {
      return damaged("its header does not match its check word");
    }
    if (header_->header_bytes.load() < sizeof(FileHeader)) {
      return damaged("a header of " + std::to_string(header_->header_bytes.load()) + " bytes");
    }
    return {};
  }

  // The block table at one moment: other processes may be appending to it.
  std::array<uint64_t, kBlocks> extents() const {
    std::array<uint64_t, kBlocks> words{};
    for (bool same = false; !same;) {
      same = true;
      for (size_t i = 0; i < kBlocks; ++i) {
        const uint64_t word = header_->blocks[i].extent.load();
        same = same && word == words[i];
        words[i] = word;
      }
    }
    return words;
  }

  Status check_blocks() {
    uint64_t end = header_->header_bytes.load();
    bool is_last = false;
    const auto words = extents();
    for (size_t i = 0; i < kBlocks; ++i) {
      const uint64_t word = words[i];
      if (word == 0) {
        is_last = true;
        continue;
      }
      const Extent extent = Extent::of(word);
      if (is_last || extent.page * kPage != end || extent.pages == 0 || extent.entry >= kEntries) {
        return damaged("block " + std::to_string(i) + " lies at byte " +
                       std::to_string(extent.page * kPage) + ", expected " + std::to_string(end));
      }
      end = extent.end_bytes();
    }
    // Others may have made or grown the file since, and whoever appended a block had it grown
    // before; but a part of a page comes of no growth.
    if (end > file_bytes_ && file_bytes_ % kPage == 0) file_bytes_ = size_on_disk(file_.path());
    if (end > file_bytes_) {
      return damaged("it has " + std::to_string(file_bytes_) + " bytes, expected at least " +
                     std::to_string(end));
    }
    return file_.grow(end);
  }

  Status check_entry(size_t entry) const {
    const uint64_t current = header_->entries[entry].current.load();
    if (current == 0) return {};
    if (Status status = check_generation(entry, current); !status) return status;
    const uint64_t next = head_of(current)->next.load();
    return next == 0 ? Status() : check_generation(entry, next);
  }

  GenerationHead* head_of(uint64_t ref) const {
    return reinterpret_cast<GenerationHead*>(file_.data() + GenerationRef::of(ref).page * kPage);
  }

  Status check_generation(size_t entry, uint64_t word) const {
    const GenerationRef ref = GenerationRef::of(word);
    const std::string name =
        "generation " + std::to_string(ref.number) + " of class " + std::to_string(entry);
    if (ref.block >= kBlocks || ref.slots_log2 == 0 || ref.slots_log2 > 40) {
      return damaged(name + " names block " + std::to_string(ref.block));
    }
    const Extent extent = Extent::of(header_->blocks[ref.block].extent.load());
    const uint64_t pages = generation_pages(kShapes[entry % kSlotClasses], ref.slots_log2);
    if (extent.page != ref.page || extent.entry != entry || extent.pages != pages) {
      return damaged(name + " does not lie in its block");
    }
    if (head_of(word)->mark.load() != (kGenerationMark ^ (entry << 8 | ref.slots_log2))) {
      return damaged(name + " does not begin with its mark");
    }
    return {};
  }

  MappedFile& file_;
  FileHeader* const header_;
  uint64_t file_bytes_;
};

}  // namespace

unsigned anonymous_slots_log2(const Shape& shape, uint64_t anonymous_bytes) {
  const uint64_t slots = anonymous_bytes / 64 * shape.share_64ths / shape.stride;
  const uint64_t least = std::max<uint64_t>(2, shape.chunk);
  return static_cast<unsigned>(std::bit_width(std::max(slots, least)) - 1);
}

uint64_t anonymous_file_bytes(uint64_t anonymous_bytes) {
  uint64_t pages = 0;
  for (const Shape& shape : kShapes) {
    pages += 2 * generation_pages(shape, anonymous_slots_log2(shape, anonymous_bytes));
  }
  return pages * kPage;
}

Result<CounterTable::Options> check_options(const CounterTable::Options& options) {
  constexpr size_t kMaxBytesMin = size_t{1} << 20;
  CounterTable::Options checked = options;
  if (options.max_bytes < kMaxBytesMin || options.max_bytes > kBytesMax) {
    return Error{Code::kInvalidArgument, "max_bytes: expected 1 MiB to 1 TiB, got " +
                                             std::to_string(options.max_bytes) + " bytes"};
  }
  if (options.initial_slots == 0 || options.initial_slots > options.max_bytes / 16) {
    return Error{Code::kInvalidArgument, "initial_slots: expected 1 to max_bytes / 16, got " +
                                             std::to_string(options.initial_slots)};
  }
  checked.anonymous_bytes =
      std::clamp<size_t>(options.anonymous_bytes, size_t{1} << 16, options.max_bytes / 4);
  return checked;
}

Result<std::unique_ptr<MappedFile>> open_table_file(const CounterTable::Options& options,
                                                    const Clock& clock) {
  MappedFile::Options wanted{.size_bytes = sizeof(FileHeader),
                             .reserve_bytes = options.max_bytes,
                             .read_only = false,
                             .magic = kMagicText};
  if (options.path.empty()) {
    auto memory = MappedFile::anonymous(wanted);
    if (!memory) return memory;
    make_header(header_of(**memory), clock);
    header_of(**memory)->anonymous_bytes.store(options.anonymous_bytes);
    return memory;
  }
  // Before MappedFile rounds it up.
  const uint64_t found_bytes = size_on_disk(options.path);
  auto opened = MappedFile::open(options.path, wanted, nullptr);
  if (!opened) return opened;
  MappedFile& file = **opened;
  FileHeader* const header = header_of(file);
  const MappedFile::Lock lock(file);
  if (was_never_valid(*header)) {
    make_header(header, clock);
  } else {
    if (Status status = Checker(file, found_bytes).check(); !status) return status;
    TableTime(header, &clock).begin_boot();
  }
  header->anonymous_bytes.store(options.anonymous_bytes);
  return opened;
}

}  // namespace tenancy::counters
