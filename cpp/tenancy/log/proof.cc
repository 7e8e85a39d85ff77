// Proofs from the files of a log: which record is where in which tree.
#include <algorithm>
#include <optional>

#include "tenancy/log/bytes.h"
#include "tenancy/log/checkpoint.h"
#include "tenancy/log/log.h"
#include "tenancy/log/segment_files.h"
#include "tenancy/log/segment_reader.h"
#include "tenancy/log/store.h"
#include "tenancy/log/stub.h"

namespace tenancy::log {
namespace {

// Hashes of a chain's tree. A stub gives the maximal subtrees of its segment. A segment that holds
// neither the record nor the end of the tree gives its maximal subtrees, which its footer has; the
// others are read record by record.
class ChainTree {
 public:
  ChainTree(Files& files, const std::string& log_directory, Class chain)
      : files_(files),
        log_directory_(log_directory),
        segments_(log_directory + "/segments"),
        chain_(chain) {}

  // Everything needed for proofs about `wanted` leaves in trees that end at `ends`.
  Status load(const std::vector<uint64_t>& wanted, const std::vector<uint64_t>& ends);
  Result<Digest256> hash(uint64_t begin, uint64_t end) const;
  void keep_record(uint64_t sequence) { kept_ = sequence; }  // before `load`
  const std::string& record() const { return record_; }

 private:
  Status load_stub(uint64_t first, const std::vector<uint64_t>& wanted,
                   const std::vector<uint64_t>& ends);
  Status load_segment(uint64_t first, uint64_t end, bool leaves);
  const Subtree* find(uint64_t begin) const;

  Files& files_;
  const std::string log_directory_;
  const std::string segments_;
  const Class chain_;
  std::vector<Subtree> nodes_;  // ascending, without gaps
  std::optional<uint64_t> kept_;
  std::string record_;
};

Status ChainTree::load(const std::vector<uint64_t>& wanted, const std::vector<uint64_t>& ends) {
  const uint64_t size = *std::max_element(ends.begin(), ends.end());
  const auto from = kept_from(files_, log_directory_);
  if (!from) return from.status();
  const uint64_t kept = (*from)[index(chain_)];
  auto all = list_segment_files(files_, segments_);
  if (!all) return all.status();
  for (const uint64_t first : (*all)[index(chain_)].stubs) {
    if (first >= kept || first >= size) break;
    if (Status status = load_stub(first, wanted, ends); !status) return status;
  }
  std::vector<uint64_t>& firsts = (*all)[index(chain_)].segments;
  std::erase_if(firsts, [&](uint64_t first) { return first < kept; });
  for (size_t i = 0; i < firsts.size() && firsts[i] < size; ++i) {
    const uint64_t first = firsts[i];
    const uint64_t next = i + 1 < firsts.size() ? firsts[i + 1] : kNoSequence;
    bool leaves = next == kNoSequence;
    for (const uint64_t leaf : wanted) leaves |= leaf >= first && leaf < next;
    for (const uint64_t end : ends) leaves |= end > first && end < next;
    if (Status status = load_segment(first, std::min(next, size), leaves); !status) {
      return status;
    }
  }
  const uint64_t end = nodes_.empty() ? 0 : nodes_.back().end();
  if (end < size) {
    return {Code::kOutOfRange, segments_ + ": the chain " + std::string(class_name(chain_)) +
                                   " has " + std::to_string(end) + " records here, expected " +
                                   std::to_string(size)};
  }
  return {};
}

Status ChainTree::load_stub(uint64_t first, const std::vector<uint64_t>& wanted,
                            const std::vector<uint64_t>& ends) {
  const Result<Stub> stub = read_stub(files_, segments_, chain_, first);
  if (!stub) return stub.status();
  for (const uint64_t leaf : wanted) {
    if (leaf < first || leaf >= stub->end()) continue;
    return {Code::kOutOfRange, "record " + std::to_string(leaf) + " of the chain " +
                                   std::string(class_name(chain_)) + " was pruned"};
  }
  for (const uint64_t end : ends) {
    if (end <= first || end >= stub->end()) continue;
    return {Code::kOutOfRange, "the chain " + std::string(class_name(chain_)) +
                                   " was pruned beyond the size " + std::to_string(end) +
                                   ": nothing can be proven from there any more"};
  }
  const std::vector<Subtree>& subtrees = stub->range.subtrees();
  nodes_.insert(nodes_.end(), subtrees.begin(), subtrees.end());
  return {};
}

Status ChainTree::load_segment(uint64_t first, uint64_t end, bool leaves) {
  const std::string path = segments_ + "/" + segment_name(chain_, first);
  Result<SegmentReader> reader = SegmentReader::open(files_, path);
  if (!reader) return reader.status();
  CompactRange range(first);
  SegmentReader::Item item;
  while (true) {
    if (Status status = reader->next(&item); !status) return status;
    if (item.step != SegmentReader::Step::kRecord || item.record.sequence() >= end) break;
    const Digest256 hash = leaf_hash(item.record.leaf());
    if (kept_ == item.record.sequence()) record_ = item.record.bytes();
    if (leaves) {
      nodes_.push_back({item.record.sequence(), 0, hash});
    } else {
      range.append(hash);
    }
  }
  nodes_.insert(nodes_.end(), range.subtrees().begin(), range.subtrees().end());
  return {};
}

const Subtree* ChainTree::find(uint64_t begin) const {
  const auto at =
      std::lower_bound(nodes_.begin(), nodes_.end(), begin,
                       [](const Subtree& node, uint64_t value) { return node.begin < value; });
  return at == nodes_.end() || at->begin != begin ? nullptr : &*at;
}

Result<Digest256> ChainTree::hash(uint64_t begin, uint64_t end) const {
  std::vector<Subtree> stack;
  const Subtree* node = find(begin);
  while (node != nullptr && node != nodes_.data() + nodes_.size() && node->begin < end) {
    stack.push_back(*node);
    while (stack.size() > 1) {
      const Subtree& right = stack.back();
      const Subtree& left = stack[stack.size() - 2];
      if (left.level != right.level || (left.begin >> left.level & 1) != 0) break;
      const Subtree joined{left.begin, left.level + 1, node_hash(left.hash, right.hash)};
      stack.pop_back();
      stack.back() = joined;
    }
    ++node;
  }
  if (stack.empty() || stack.back().end() != end) {
    return Error{Code::kDamaged, segments_ + ": records from " + std::to_string(begin) + " to " +
                                     std::to_string(end) + " are not all there"};
  }
  Digest256 hash = stack.back().hash;
  for (size_t i = stack.size() - 1; i-- > 0;) hash = node_hash(stack[i].hash, hash);
  return hash;
}

Result<Ed25519Public> log_key(Files& files, const std::string& log_directory, LogId* log_id) {
  const Result<Manifest> manifest = read_manifest(files, Paths::of_log(log_directory));
  if (!manifest) return manifest.status();
  *log_id = manifest->log_id;
  return manifest->public_key;
}

}  // namespace

Result<InclusionReceipt> prove_record(Files& files, const std::string& log_directory,
                                      Position position, std::string_view note) {
  LogId log_id{};
  const Result<Ed25519Public> key = log_key(files, log_directory, &log_id);
  if (!key) return key.status();
  const Result<Checkpoint> checkpoint = open_note(note, {log_origin(log_id), *key});
  if (!checkpoint) return checkpoint.status();
  const uint64_t size = checkpoint->chains[index(position.chain)].size;
  if (position.sequence >= size) {
    return Error{Code::kOutOfRange, "the checkpoint covers " + std::to_string(size) +
                                        " records of the chain, not " +
                                        std::to_string(position.sequence) + "; make a newer one"};
  }
  ChainTree tree(files, log_directory, position.chain);
  tree.keep_record(position.sequence);
  if (Status status = tree.load({position.sequence}, {size}); !status) return status;
  Result<std::vector<Digest256>> proof = inclusion_proof(
      position.sequence, size, [&](uint64_t begin, uint64_t end) { return tree.hash(begin, end); });
  if (!proof) return proof.status();
  return InclusionReceipt{position, tree.record(), std::string(note), std::move(*proof)};
}

Result<std::vector<Digest256>> prove_consistency(Files& files, const std::string& log_directory,
                                                 Class chain, uint64_t from, uint64_t to) {
  if (from == 0 || from > to) {
    return Error{Code::kOutOfRange, "no proof from " + std::to_string(from) + " to " +
                                        std::to_string(to) + " records: expected 0 < from <= to"};
  }
  ChainTree tree(files, log_directory, chain);
  if (Status status = tree.load({}, {from, to}); !status) return status;
  return consistency_proof(from, to,
                           [&](uint64_t begin, uint64_t end) { return tree.hash(begin, end); });
}

Result<std::string> last_note(Files& files, const std::string& log_directory) {
  const Result<std::string> bytes =
      read_file(files, log_directory + "/checkpoints", kCheckpointsBytesMax);
  if (!bytes) return bytes.status();
  uint64_t end = 0;
  const std::vector<std::string_view> notes = split_checkpoints(*bytes, &end);
  if (notes.empty()) {
    return Error{Code::kNotFound, log_directory + "/checkpoints: there is no checkpoint yet"};
  }
  return std::string(notes.back());
}

}  // namespace tenancy::log
