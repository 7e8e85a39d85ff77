// ChainVerifier: one chain, segment by segment and record by record. Internal. (LOG_FORMAT.md, 11)
//
// Thread safety: one thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tenancy/log/checkpoint.h"
#include "tenancy/log/keys.h"
#include "tenancy/log/merkle.h"
#include "tenancy/log/segment_reader.h"
#include "tenancy/log/store.h"
#include "tenancy/log/verify.h"

namespace tenancy::log {

// All keys, from the first epoch on, as they are asked for.
class KeySchedule {
 public:
  explicit KeySchedule(const EpochKey& first) { keys_.push_back(first); }
  const LogId& log_id() const { return keys_.front().log_id(); }
  const EpochKey& first() const { return keys_.front(); }
  // Null for an epoch that no log reaches; nobody is led to derive keys for ever.
  const HmacKey* record_key(Class chain, uint32_t epoch);
  const HmacKey* file_key(uint32_t epoch);
  // Of the epochs asked for so far, the newest.
  uint32_t newest() const { return static_cast<uint32_t>(keys_.size() - 1); }

 private:
  const EpochKey* at(uint32_t epoch);

  std::vector<EpochKey> keys_;
  std::map<std::pair<size_t, uint32_t>, HmacKey> record_keys_;
  std::map<uint32_t, HmacKey> file_keys_;
};

// A tree head that the chain must pass through.
struct Milestone {
  ChainHead head;
  std::string file;     // where it is said
  bool anchor = false;  // else a checkpoint of the log itself
};

// What the chain is checked against.
struct ChainInput {
  Class chain = Class::kSecurity;
  std::vector<uint64_t> segments;                 // first sequences by name, ascending
  const Manifest* manifest = nullptr;             // null when there is no authentic one
  std::optional<HeadChain> head;                  // nothing when there is no authentic one
  std::multimap<uint64_t, Milestone> milestones;  // by size
  const std::vector<std::string>* notes = nullptr;
  int64_t now_ns = 0;
};

class ChainVerifier {
 public:
  ChainVerifier(Files& files, const Paths& paths, KeySchedule& keys, const ChainInput& input,
                Report* report);
  ~ChainVerifier();
  void run();

 private:
  struct State;
  struct Segment {
    uint64_t first = 0;
    std::string name;
    std::optional<SegmentReader> reader;
    SegmentHeader header;
    bool last = false;
    std::optional<uint64_t> cut_at;  // by the header of the next one
  };

  // Each returns false when the chain cannot be followed any further.
  bool open(size_t which, Segment* segment);
  bool links(const Segment& segment, const Segment* before);
  bool records(Segment& segment);
  bool record(const RecordView& view, uint64_t offset);
  bool authentic(const RecordView& view, uint64_t offset);
  bool follows(const RecordView& view, uint64_t offset);
  bool tenant(const RecordView& view, uint64_t offset);
  bool footer(Segment& segment, uint64_t offset);
  bool end_of(Segment& segment, const SegmentReader::Item& item);
  bool cut(Segment& segment, const SegmentReader::Item& item);
  void milestones();
  void control(const RecordView& view, uint64_t offset);
  void repair(const RecordView& view, uint64_t offset);
  void checkpoint(const RecordView& view, uint64_t offset);
  void silence(const RecordView& view, uint64_t offset);
  void manifest_entry(const Segment& segment, uint64_t offset, bool cut, const Tag& mac);
  void finish();
  bool durable(uint64_t next) const;
  Digest256 tenants_root() const;
  bool fail(std::string code, std::string text, uint64_t offset);
  void find(Verdict verdict, std::string code, std::string text, uint64_t offset);

  Files& files_;
  const Paths& paths_;
  KeySchedule& keys_;
  const ChainInput& input_;
  Report* const report_;
  std::unique_ptr<State> state_;
};

}  // namespace tenancy::log
