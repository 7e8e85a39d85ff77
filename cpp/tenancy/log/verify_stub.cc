// What is checked of stubs: they stand where the records were that were pruned.
// (LOG_FORMAT.md, 6.4 and 11)
#include <algorithm>
#include <utility>

#include "tenancy/log/bytes.h"
#include "tenancy/log/verify_chain.h"

namespace tenancy::log {

bool ChainVerifier::open_stub() {
  if (stub_ == claims_->stubs.size()) return end_of_stubs();
  const uint64_t first = claims_->stubs[stub_];
  offset_ = 0;
  if (first > next_) {
    file_ = "segments/" + stub_name(claims_->chain, next_);
    return bad("stub_missing", "the next stub that is there begins at " + std::to_string(first));
  }
  file_ = "segments/" + stub_name(claims_->chain, first);
  if (first < next_) return bad("stub_content", "its records are those of the stub before it");
  const std::string name = stub_name(claims_->chain, first);
  const Result<std::string> bytes =
      read_file(*files_, claims_->segments + "/" + name, kStateFileBytesMax);
  if (!bytes) return stop(finding(Verdict::kCannotVerify, "io_error", bytes.error().message));
  bytes_ += bytes->size();
  return read_stub(*bytes);
}

bool ChainVerifier::read_stub(const std::string& bytes) {
  const Result<StubBlocks> blocks = split_stub(bytes);
  if (!blocks) return bad("stub_damaged", blocks.error().message);
  if (!keys_->is_ours(blocks->header) || !keys_->is_ours(blocks->footer)) {
    return bad("stub_mac", "the stub was not written by this log");
  }
  const Result<Stub> stub = parse_stub(bytes);
  if (!stub) return bad("stub_content", stub.error().message);
  if (stub->header.chain != claims_->chain || stub->first() != claims_->stubs[stub_]) {
    return bad("stub_content", "the stub is that of another segment");
  }
  if (stub->end() > claims_->kept_from) {
    return bad("stub_content", "the stub stands for records that are kept");
  }
  if (!follows_stub(stub->header)) {
    return bad("stub_content", "the stub does not continue the one before it");
  }
  return pass_stub(*stub);
}

bool ChainVerifier::follows_stub(const SegmentHeader& header) {
  const uint64_t before = stub_ == 0 ? kNoSequence : claims_->stubs[stub_ - 1];
  const bool cut_agrees =
      !header.previous_cut || (stub_ != 0 && header.previous_cut_at == offset_of_cut_);
  if (header.first != next_ || header.previous_first != before || header.previous != tag_ ||
      header.epoch < epoch_ || header.frontier != tree_.hashes() || !cut_agrees) {
    return false;
  }
  if (header.previous_cut) cuts_[before] = {offset_of_cut_, true, true};
  epoch_ = header.epoch;
  return true;
}

bool ChainVerifier::pass_stub(const Stub& stub) {
  if (stub_ == 0) check_boundaries();  // of an empty chain
  for (const TenantEntry& entry : stub.footer.tenants) {
    if (!tenants_.learn(entry)) {
      return bad("stub_content", "a tenant's records do not continue those of the stub before");
    }
  }
  tree_.append(stub.range);
  tag_ = stub.footer.last;
  next_ = stub.end();
  first_ = stub.first();
  offset_ = offset_of_cut_ = stub.footer.offset;
  stub_hashes_.push_back(stub.hash);
  ++counts_.stubs;
  ++stub_;
  check_head();
  check_boundaries();
  return true;
}

bool ChainVerifier::end_of_stubs() {
  stubs_passed_ = true;
  counts_.tenants = tenants_.size();
  offset_ = 0;
  if (next_ != claims_->kept_from) {
    file_ = "segments/" + stub_name(claims_->chain, next_);
    return bad("stub_missing", "records up to " + std::to_string(claims_->kept_from) +
                                   " were pruned, and their stub is not there");
  }
  if (next_ == 0) return true;
  file_ = "segments/" + segment_name(claims_->chain, next_);
  const uint64_t lost = counts_.not_comparable;
  return note(finding(Verdict::kWhole, "pruned",
                      "records before " + std::to_string(next_) + " were pruned; " +
                          std::to_string(lost) +
                          (lost == 1 ? " checkpoint or anchor" : " checkpoints and anchors") +
                          " inside them cannot be compared any more"));
}

// The chain is at its end: some record in it has said what is gone.
bool ChainVerifier::check_pruned() {
  if (claims_->kept_from == 0) return true;
  Finding found = finding(Verdict::kTampered, "pruned_missing",
                          "records before " + std::to_string(claims_->kept_from) +
                              " are gone, and no record says that they were pruned");
  found.sequence = claims_->kept_from;
  found.file = "segments/" + segment_name(claims_->chain, claims_->kept_from);
  found.offset = 0;
  const Digest256 hash = stubs_hash(stub_hashes_);
  for (const Pruned& pruned : pruned_) {
    if (pruned.kept_from != claims_->kept_from) continue;
    if (pruned.hash == as_view(hash)) return true;
    found.code = "pruned_content";
    found.text = "the record of the prune speaks of other stubs";
  }
  return stop(std::move(found));
}

}  // namespace tenancy::log
