#include "tenancy/log/verify_chain.h"

#include <algorithm>

#include "tenancy/log/bytes.h"

namespace tenancy::log {
namespace {

constexpr uint64_t kNoOffset = ~uint64_t{0};

bool same(const TenantEntry& a, const TenantEntry& b) {
  return a.key == b.key && a.sequence == b.sequence && a.tag == b.tag;
}

bool same(const std::vector<TenantEntry>& a, const std::vector<TenantEntry>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const TenantEntry& x, const TenantEntry& y) { return same(x, y); });
}

}  // namespace

ChainVerifier::ChainVerifier(Files& files, VerifyKeys& keys, const ChainClaims& claims)
    : files_(&files),
      keys_(&keys),
      claims_(&claims),
      cut_at_(kNoOffset),
      tenants_(keys.log_id(), claims.chain) {
  counts_.first_sequence = counts_.next_sequence = claims.kept_from;
  head_judged_ = claims.head == nullptr;
}

ChainVerifier ChainVerifier::resume() const {
  ChainVerifier copy = *this;
  copy.reader_ = nullptr;
  return copy;
}

Finding ChainVerifier::finding(Verdict verdict, std::string code, std::string text) const {
  Finding out;
  out.verdict = verdict;
  out.code = std::move(code);
  out.text = std::move(text);
  out.chain = static_cast<int>(index(claims_->chain));
  out.sequence = next_;
  out.file = file_;
  out.offset = offset_;
  return out;
}

bool ChainVerifier::stop(Finding finding) {
  findings_.push_back(std::move(finding));
  damaged_ = done_ = true;
  reader_ = nullptr;
  return false;
}

bool ChainVerifier::bad(std::string code, std::string text) {
  return stop(finding(Verdict::kTampered, std::move(code), std::move(text)));
}

bool ChainVerifier::note(Finding finding) {
  findings_.push_back(std::move(finding));
  return true;
}

bool ChainVerifier::attach() {
  if (reader_ != nullptr) return true;
  Result<SegmentReader> reader =
      SegmentReader::open(*files_, claims_->segments + "/" + segment_name(claims_->chain, first_));
  if (!reader) {
    return stop(finding(Verdict::kCannotVerify, "io_error", reader.error().message));
  }
  reader_ = std::make_shared<SegmentReader>(std::move(*reader));
  reader_->seek(offset_);
  return true;
}

bool ChainVerifier::step() {
  if (done_) return false;
  if (!stubs_passed_) return open_stub();
  if (!open_) return open_segment();
  if (!attach()) return false;
  if (offset_ >= cut_at_) return leave_cut();
  SegmentReader::Item item;
  if (Status status = reader_->next(&item); !status) {
    return stop(finding(Verdict::kCannotVerify, "io_error", status.error().message));
  }
  if (item.step != SegmentReader::Step::kRecord) return end_of_records(item);
  if (!check_record(item.record)) return false;
  offset_ += item.record.size();
  bytes_ += item.record.size();
  check_head();
  check_boundaries();
  return true;
}

bool ChainVerifier::open_segment() {
  if (segment_ == claims_->firsts.size()) return finish();
  const uint64_t first = claims_->firsts[segment_];
  if (first > next_) {
    file_ = "segments/" + segment_name(claims_->chain, next_);
    offset_ = 0;
    return bad("segment_missing",
               "the next segment that is there begins at " + std::to_string(first));
  }
  first_ = first;
  file_ = "segments/" + segment_name(claims_->chain, first);
  offset_ = 0;
  if (!attach()) return false;
  const Result<BlockView> block = reader_->header();
  if (!block && block.error().code == Code::kIo) {
    return stop(finding(Verdict::kCannotVerify, "io_error", block.error().message));
  }
  if (!block) return bad("segment_header", block.error().message);
  SegmentHeader header;
  if (!check_header(*block, &header) || !check_link(header)) return false;
  offset_ = kSegmentHeaderBytes;
  bytes_ += kSegmentHeaderBytes;
  reader_->seek(offset_);
  range_ = RangeMaker(next_);
  record_key_ = keys_->record_key(claims_->chain, epoch_);
  tenants_.begin_segment();
  ++counts_.segments;
  open_ = true;
  find_cut();
  check_head();
  check_boundaries();
  return true;
}

bool ChainVerifier::check_header(const BlockView& block, SegmentHeader* header) {
  if (block.log_id != keys_->log_id()) {
    return bad("segment_foreign", "the segment is of log " + hex(block.log_id));
  }
  if (!keys_->is_ours(block)) return bad("segment_mac", "the header was not written by this log");
  Result<SegmentHeader> parsed = SegmentHeader::parse(block.content);
  if (!parsed) return bad("segment_header", parsed.error().message);
  *header = std::move(*parsed);
  if (header->chain != claims_->chain) {
    return bad("segment_foreign",
               "the segment is of chain " + std::string(class_name(header->chain)));
  }
  if (header->first != first_) {
    return bad("segment_name", "the segment's header says that it begins at record " +
                                   std::to_string(header->first));
  }
  return true;
}

bool ChainVerifier::check_link(const SegmentHeader& header) {
  if (header.first != next_) {
    return bad("segment_link", "the segment begins at record " + std::to_string(header.first) +
                                   ", expected " + std::to_string(next_));
  }
  if (segment_ == 0 && next_ > 0) {
    return follows_stub(header) || bad("segment_link", "the segment does not continue the stub");
  }
  const uint64_t before = segment_ == 0 ? kNoSequence : claims_->firsts[segment_ - 1];
  const bool cut_agrees = header.previous_cut == left_by_cut_ &&
                          (!left_by_cut_ || header.previous_cut_at == cuts_[before].offset);
  if (header.previous_first != before || header.previous != tag_ || header.epoch != epoch_ ||
      header.frontier != tree_.hashes() || !cut_agrees) {
    return bad("segment_link", "the segment does not continue the one before it");
  }
  return true;
}

// A segment that was cut ends where the header of the next one says, or the manifest.
void ChainVerifier::find_cut() {
  cut_at_ = kNoOffset;
  if (segment_ + 1 == claims_->firsts.size()) return;
  const uint64_t next = claims_->firsts[segment_ + 1];
  Result<SegmentReader> reader =
      SegmentReader::open(*files_, claims_->segments + "/" + segment_name(claims_->chain, next));
  if (!reader) return;
  const Result<BlockView> block = reader->header();
  if (block && keys_->is_ours(*block)) {
    const Result<SegmentHeader> header = SegmentHeader::parse(block->content);
    if (header && header->previous_cut && header->previous_first == first_) {
      cut_at_ = header->previous_cut_at;
    }
    return;
  }
  if (claims_->manifest == nullptr) return;
  for (const ManifestEntry& entry : claims_->manifest->segments[index(claims_->chain)]) {
    if (entry.first == first_ && entry.cut) cut_at_ = entry.offset;
  }
}

bool ChainVerifier::leave_cut() {
  if (offset_ > cut_at_) {
    return bad("segment_link", "the next segment says that this one was cut inside a record, at " +
                                   std::to_string(cut_at_));
  }
  if (!check_manifest(true, Tag{})) return false;
  cuts_[first_] = {offset_, false};
  left_by_cut_ = true;
  return next_segment();
}

bool ChainVerifier::next_segment() {
  tree_.append(range_.range());
  reader_ = nullptr;
  open_ = false;
  ++segment_;
  return true;
}

bool ChainVerifier::end_of_records(const SegmentReader::Item& item) {
  if (item.step == SegmentReader::Step::kFooter) return check_footer();
  const bool last = segment_ + 1 == claims_->firsts.size();
  const bool nothing = item.step == SegmentReader::Step::kEnd;
  const uint64_t promised = last ? claims_->promised : claims_->firsts[segment_ + 1];
  if (next_ < promised) {
    const Result<uint64_t> end = reader_->data_end(offset_);
    if (nothing && end && *end == offset_) {
      return bad("tail_missing",
                 "records end here, expected some up to " + std::to_string(promised - 1));
    }
    return bad("record_damaged", "length or checksum of the record is wrong");
  }
  if (last) return end_of_last(item);
  return nothing ? bad("seal_missing", "the segment is not the last one and has no seal")
                 : bad("seal_damaged", "there is neither a record nor a seal here");
}

bool ChainVerifier::end_of_last(const SegmentReader::Item&) {
  const Result<uint64_t> end = reader_->data_end(offset_);
  if (!end) return stop(finding(Verdict::kCannotVerify, "io_error", end.error().message));
  if (*end > offset_) {
    note(finding(Verdict::kQualified, "torn_tail",
                 std::to_string(*end - offset_) +
                     " bytes behind the last record, after what the head promises: a write that "
                     "was cut off, or bytes that somebody put there"));
  }
  left_by_cut_ = false;
  return next_segment();
}

bool ChainVerifier::check_footer() {
  const bool last = segment_ + 1 == claims_->firsts.size();
  const Result<BlockView> block = reader_->footer(offset_);
  if (!block && last && next_ >= claims_->promised) {
    note(finding(Verdict::kQualified, "torn_tail", "a seal that was not written to its end"));
    left_by_cut_ = false;
    return next_segment();
  }
  if (!block) return bad("seal_damaged", block.error().message);
  if (!keys_->is_ours(*block)) return bad("seal_mac", "the seal was not written by this log");
  const Result<SegmentFooter> footer = SegmentFooter::parse(block->content);
  const bool right = footer && footer->chain == claims_->chain && footer->first == first_ &&
                     footer->count == next_ - first_ && footer->offset == offset_ &&
                     footer->last == tag_ && footer->range == range_.range().hashes() &&
                     same(footer->tenants, tenants_.of_segment());
  if (!right) return bad("seal_content", "the seal does not agree with the segment's records");
  if (!check_manifest(false, block->mac())) return false;
  const uint64_t end = offset_ + block->bytes.size();
  // Zeros behind the last seal are left when a crash came before the file was cut.
  const Result<uint64_t> rest = last ? reader_->data_end(end) : reader_->size();
  bytes_ += block->bytes.size();
  if (!rest || *rest != end) {
    offset_ = end;
    return bad("trailing_bytes", "the file goes on behind the segment's seal");
  }
  left_by_cut_ = false;
  return next_segment();
}

bool ChainVerifier::check_manifest(bool cut, const Tag& mac) {
  if (claims_->manifest == nullptr) return true;
  for (const ManifestEntry& entry : claims_->manifest->segments[index(claims_->chain)]) {
    if (entry.first != first_) continue;
    if (entry.end == next_ && entry.offset == offset_ && entry.cut == cut && entry.mac == mac) {
      return true;
    }
    Finding found = finding(Verdict::kTampered, "manifest_content",
                            "the manifest does not agree with " + file_);
    found.file = "manifest";
    found.offset = 0;
    return stop(std::move(found));
  }
  return true;
}

bool ChainVerifier::finish() {
  done_ = true;
  reader_ = nullptr;
  if (next_ < claims_->promised) {
    if (claims_->firsts.empty()) file_ = "segments/" + segment_name(claims_->chain, next_);
    return bad(
        claims_->firsts.empty() ? "segment_missing" : "tail_missing",
        "the chain ends here, expected records up to " + std::to_string(claims_->promised - 1));
  }
  for (const auto& [first, cut] : cuts_) {
    if (cut.told) continue;
    Finding found = finding(Verdict::kQualified, "repaired",
                            "the segment was cut here, and no record has told of it yet");
    found.file = "segments/" + segment_name(claims_->chain, first);
    found.offset = cut.offset;
    note(std::move(found));
  }
  if (!check_pruned()) return false;
  check_head();
  check_boundaries();
  return false;
}

// The head may name the end of one segment or the beginning of the next: both are the same place.
void ChainVerifier::check_head() {
  if (head_judged_) return;
  const HeadChain& head = claims_->head->chains[index(claims_->chain)];
  if (next_ == head.next_sequence) {
    const bool here = head.first == first_ && head.offset == offset_ && head.tag == tag_;
    const bool nothing = next_ == 0 && head.first == kNoSequence;
    head_met_ = head_met_ || here || nothing;
    if (!done_) return;
  } else if (next_ < head.next_sequence) {
    return;
  }
  head_judged_ = true;
  if (head_met_) return;
  Finding found = finding(Verdict::kTampered, "head_content",
                          "the head does not agree with the records of the chain");
  found.sequence = head.next_sequence;
  found.file = "head";
  found.offset = 0;
  note(std::move(found));
}

void ChainVerifier::check_boundaries() {
  const std::vector<Boundary>& all = claims_->boundaries;
  while (boundary_ < all.size() && all[boundary_].size <= next_) {
    const Boundary& boundary = all[boundary_];
    if (boundary.size < next_) {
      // Only a stub takes more than one step.
      if (boundary.kind != Boundary::Kind::kTenants) ++counts_.not_comparable;
    } else if (!trees_differ_) {
      check_boundary(boundary);
    }
    ++boundary_;
  }
}

void ChainVerifier::check_boundary(const Boundary& boundary) {
  const std::vector<TenantEntry> entries = tenants_.all();
  Finding found = finding(Verdict::kTampered, "", "");
  found.sequence = boundary.size;
  found.offset = 0;
  if (boundary.kind == Boundary::Kind::kTenants) {
    if (same(claims_->tenants->entries[index(claims_->chain)], entries)) return;
    found.code = "tenants_content";
    found.text = "the file does not agree with the records of the chain";
    found.file = "tenants";
    note(std::move(found));
    return;
  }
  CompactRange tree = tree_;
  if (open_) tree.append(range_.range());
  const bool anchor = boundary.kind == Boundary::Kind::kAnchor;
  found.file = anchor ? "" : "checkpoints";
  if (!anchor) found.offset = claims_->note_offsets[boundary.which];
  const std::string name =
      (anchor ? "anchor " : "checkpoint ") + std::to_string(boundary.which) + ": ";
  if (tree.root() != boundary.head.root) {
    found.code = anchor ? "anchor_mismatch" : "checkpoint_root";
    found.text = name + "the chain's records have another root";
  } else if (boundary.head.tenants != entries.size() ||
             boundary.head.tenants_root != tenants_root(entries)) {
    found.code = anchor ? "anchor_mismatch" : "checkpoint_tenants";
    found.text = name + "the chain's tenants have another root";
  } else {
    return;
  }
  trees_differ_ = true;
  note(std::move(found));
}

std::optional<Finding> ChainVerifier::silent_until(int64_t now_ns) const {
  if (damaged_ || quiet_by_right_ || now_ns <= last_time_) return std::nullopt;
  const uint64_t silence = static_cast<uint64_t>(now_ns) - static_cast<uint64_t>(last_time_);
  if (silence / 2 < interval_ || silence <= 2 * interval_) return std::nullopt;
  return finding(Verdict::kQualified, "silent",
                 "nothing was recorded for " + std::to_string(silence / 1'000'000) +
                     " ms up to the time of verification");
}

}  // namespace tenancy::log
