#include "tenancy/log/chain_file.h"

#include <algorithm>
#include <array>

#include "tenancy/log/bytes.h"
#include "tenancy/log/segment_reader.h"

namespace tenancy::log {

namespace {

constexpr uint64_t kRoomMin = uint64_t{64} << 10;
constexpr uint64_t kRoomStepMax = uint64_t{4} << 20;
// Zeros that are written ahead of the records: as much as there is of those, within these bounds.
constexpr uint64_t kFillBytesMin = uint64_t{32} << 10;
constexpr uint64_t kFillBytesMax = uint64_t{512} << 10;
constexpr size_t kSmallBytesMax = size_t{64} << 10;
constexpr size_t kLeavesAtOnce = 64;

}  // namespace

Status ChainFile::load(const ChainMark& mark) {
  file_.reset();
  mark_ = durable_ = mark;
  tenants_.clear();
  buffer_.clear();
  unhashed_.clear();
  dirty_ = false;
  header_ = SegmentHeader{};
  header_.chain = chain_;
  before_ = CompactRange();
  range_ = CompactRange();
  if (mark.first != kNoSequence) {
    if (Status status = scan(mark.offset); !status) return status;
  }
  durable_range_ = range_;
  if (mark_.needs_segment) return {};
  Result<std::unique_ptr<File>> file = files_.open(path(mark.first), OpenMode::kReadWrite);
  if (!file) return file.status();
  const Result<uint64_t> size = (*file)->size();
  if (!size) return size.status();
  // What lies there may be records that a dead leader wrote: nothing is filled over them.
  room_ = filled_ = *size;
  file_ = std::move(*file);
  return {};
}

Status ChainFile::scan(uint64_t end) {
  const std::string name = path(mark_.first);
  Result<SegmentReader> reader = SegmentReader::open(files_, name);
  if (!reader) return reader.status();
  const auto damaged = [&](const std::string& what) {
    return Error{Code::kDamaged, name + ": " + what};
  };
  {
    const Result<BlockView> block = reader->header();
    if (!block) return damaged(block.error().message);
    Result<SegmentHeader> header = SegmentHeader::parse(block->content);
    if (!header) return damaged(header.error().message);
    header_ = std::move(*header);
  }
  const Result<CompactRange> before = CompactRange::frontier(header_.first, header_.frontier);
  if (!before) return damaged(before.error().message);
  before_ = *before;
  range_ = CompactRange(header_.first);
  SegmentReader::Item item;
  while (true) {
    if (Status status = reader->next(&item); !status) return status;
    if (item.offset >= end) break;
    if (item.step != SegmentReader::Step::kRecord) {
      return damaged("expected records up to offset " + std::to_string(end) + ", found none at " +
                     std::to_string(item.offset));
    }
    range_.append(leaf_hash(item.record.leaf()));
    if (const auto tenant = item.record.tenant()) {
      const TenantKey& key = keys_.get(log_id_, chain_, *tenant);
      tenants_[key] = {key, item.record.tenant_sequence(), item.record.tag()};
    }
  }
  if (item.offset != end || range_.end() != mark_.next_sequence) {
    return damaged("its records do not end where they should, at offset " + std::to_string(end));
  }
  if (item.step == SegmentReader::Step::kFooter && (!mark_.needs_segment || mark_.sealed)) {
    const Result<BlockView> block = reader->footer(end);
    const Result<SegmentFooter> footer =
        block ? SegmentFooter::parse(block->content) : Result<SegmentFooter>(block.error());
    if (footer && footer->first == mark_.first && footer->last == mark_.tag) {
      footer_mac_ = block->mac();
      return finish_seal(end + block->bytes.size());
    }
  }
  return {};
}

// The leader before ended in the middle of a roll: its footer is whole, and may not be durable.
Status ChainFile::finish_seal(uint64_t end) {
  Result<std::unique_ptr<File>> file = files_.open(path(mark_.first), OpenMode::kReadWrite);
  if (!file) return file.status();
  if (Status status = (*file)->truncate(end); !status) return status;
  if (Status status = (*file)->sync(); !status) return status;
  mark_.sealed = mark_.needs_segment = true;
  durable_ = mark_;
  return {};
}

bool ChainFile::would_pass(size_t bytes, uint64_t segment_bytes) const {
  const uint64_t end = mark_.offset + buffer_.size();
  return end > kSegmentHeaderBytes && end + bytes > segment_bytes;
}

bool ChainFile::add(std::string_view record) {
  RecordView view;
  if (RecordView::parse(record, &view) != Framing::kRecord ||
      view.sequence() != mark_.next_sequence) {
    return false;
  }
  buffer_.append(record);
  if (const auto tenant = view.tenant()) {
    const TenantKey& key = keys_.get(log_id_, chain_, *tenant);
    tenants_[key] = {key, view.tenant_sequence(), view.tag()};
  }
  ++mark_.next_sequence;
  mark_.epoch = view.epoch() + (view.kind() == Kind::kEpoch ? 1 : 0);
  mark_.tag = view.tag();
  return true;
}

Status ChainFile::write() {
  if (buffer_.empty()) return {};
  dirty_ = true;
  const uint64_t end = mark_.offset + buffer_.size();
  if (Status status = make_room(end); !status) return status;
  if (Status status = file_->write_at(mark_.offset, buffer_); !status) return status;
  mark_.offset = end;
  small_ = buffer_.size() <= kSmallBytesMax;
  hash_leaves();  // of the write before, when no sync came between
  unhashed_.swap(buffer_);
  return {};
}

// To write into allocated space for the first time changes the file system's own tables, and a sync
// has to wait for those too. So commits are given space where zeros were written: between two
// syncs, while the disk has nothing to do. Large writes would double what is written and gain
// nothing.
Status ChainFile::fill_ahead() {
  const uint64_t step = std::clamp(mark_.offset, kFillBytesMin, kFillBytesMax);
  if (!small_ || needs_segment() || filled_ > mark_.offset + step / 4) return {};
  const uint64_t from = std::max(filled_, mark_.offset);
  filled_ = from + step;
  static const std::string zeros(kFillBytesMax, '\0');
  const bool done = make_room(filled_) && file_->write_at(from, {zeros.data(), step});
  return done ? file_->begin_sync(from) : Status();  // without, syncs take longer, and that is all
}

// Space is taken ahead, in steps that double: a quiet log is small, a busy one seldom stops for it,
// and a full disk shows before a record is torn.
Status ChainFile::make_room(uint64_t end) {
  if (end <= room_) return {};
  const uint64_t room = std::max(end, room_ + std::min(room_, kRoomStepMax));
  if (Status status = file_->allocate(room); !status) return status;
  room_ = room;
  return {};
}

Status ChainFile::sync() {
  if (!dirty_) return {};
  if (Status status = file_->begin_sync(durable_.offset); !status) return status;
  hash_leaves();  // while the disk is busy, and this thread would wait for it
  if (Status status = file_->sync(); !status) return status;
  dirty_ = false;
  return {};
}

void ChainFile::hash_leaves() {
  std::array<Digest256, kLeavesAtOnce> leaves;
  size_t count = 0;
  for (std::string_view rest = unhashed_; !rest.empty();) {
    const auto bytes = get<uint32_t>(rest.data());
    leaves[count++] = leaf_hash(rest.substr(0, bytes - kRecordCrcBytes));
    rest.remove_prefix(bytes);
    if (count < leaves.size() && !rest.empty()) continue;
    range_.append_all({leaves.data(), count});
    count = 0;
  }
  unhashed_.clear();
}

void ChainFile::fall_back() {
  // Tenants may know records that are not durable: those come again, with the same values.
  mark_ = durable_;
  range_ = durable_range_;
  buffer_.clear();
  unhashed_.clear();
}

void ChainFile::abandon() {
  fall_back();
  file_.reset();
  dirty_ = false;
  if (mark_.first == kNoSequence || mark_.needs_segment) return;
  mark_.needs_segment = true;
  mark_.sealed = mark_.repair_told = false;
  durable_ = mark_;
}

Status ChainFile::seal(const FileKey& key) {
  SegmentFooter footer;
  footer.chain = chain_;
  footer.first = mark_.first;
  footer.count = mark_.next_sequence - mark_.first;
  footer.offset = mark_.offset;
  footer.last = mark_.tag;
  footer.range = range_.hashes();
  for (const auto& [tenant, entry] : tenants_) footer.tenants.push_back(entry);
  std::ranges::sort(footer.tenants, {}, &TenantEntry::key);
  const std::string block = make_block(kFooterMagic, log_id_, key.epoch, key.key, footer.content());
  if (Status status = file_->write_at(mark_.offset, block); !status) return status;
  if (Status status = file_->sync(); !status) return status;
  if (Status status = file_->truncate(mark_.offset + block.size()); !status) return status;
  if (Status status = file_->sync(); !status) return status;
  footer_mac_ = get_bytes<Tag>(block.data() + block.size() - kBlockTailBytes);
  mark_.sealed = mark_.needs_segment = true;
  durable_ = mark_;
  file_.reset();
  return {};
}

bool ChainFile::left_segment(ManifestEntry* entry) const {
  // A segment in which nothing was durable is replaced, not left.
  if (mark_.first == kNoSequence || mark_.next_sequence == mark_.first) return false;
  *entry = {mark_.first, mark_.next_sequence, mark_.offset, !mark_.sealed,
            mark_.sealed ? footer_mac_ : Tag{}};
  return true;
}

Status ChainFile::make_segment(const FileKey& key, uint64_t segment_bytes) {
  SegmentHeader header = header_;
  const CompactRange tree = this->tree();
  if (mark_.first == kNoSequence || mark_.next_sequence != mark_.first) {
    header = SegmentHeader{};
    header.chain = chain_;
    header.epoch = mark_.epoch;
    header.first = mark_.next_sequence;
    header.previous_first = mark_.first;
    header.previous_cut = mark_.first != kNoSequence && !mark_.sealed;
    header.previous_cut_at = header.previous_cut ? mark_.offset : 0;
    header.previous = mark_.tag;
    header.frontier = tree.hashes();
  }
  const std::string target = path(header.first);
  const std::string temporary = target + ".new";
  Result<std::unique_ptr<File>> file = files_.open(temporary, OpenMode::kCreate);
  if (!file) return file.status();
  const uint64_t room = std::min(segment_bytes, kRoomMin);
  if (Status status = (*file)->allocate(room); !status) return status;
  const std::string block =
      make_block(kSegmentMagic, log_id_, key.epoch, key.key, header.content(), kSegmentHeaderBytes);
  if (Status status = (*file)->write_at(0, block); !status) return status;
  if (Status status = (*file)->sync(); !status) return status;
  if (Status status = files_.rename(temporary, target); !status) return status;
  if (Status status = files_.sync_directory(paths_.segments); !status) return status;
  file_ = std::move(*file);
  room_ = room;
  filled_ = kSegmentHeaderBytes;
  header_ = std::move(header);
  before_ = tree;
  range_ = durable_range_ = CompactRange(header_.first);
  tenants_.clear();
  dirty_ = false;
  mark_.first = header_.first;
  mark_.offset = kSegmentHeaderBytes;
  mark_.needs_segment = mark_.sealed = mark_.repair_told = false;
  durable_ = mark_;
  return {};
}

CompactRange ChainFile::tree() const {
  CompactRange tree = before_;
  tree.append(range_);
  return tree;
}

}  // namespace tenancy::log
