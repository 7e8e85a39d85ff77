// ChainVerifier: one chain of a log, record by record. Internal. (LOG_FORMAT.md, 11)
//
// It is a value: `resume` gives a copy that goes on from the same place by itself, so that a test
// can damage one byte and verify from the record before it.
//
// Invariants:
//  1. A record is counted only after each of its rules was checked; the first damage ends the
//     chain.
//  2. Nothing is believed because a file says so: what head, manifest, footers and checkpoints
//     promise is compared with what the records give.
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
#include "tenancy/log/merkle.h"
#include "tenancy/log/segment_reader.h"
#include "tenancy/log/store.h"
#include "tenancy/log/stub.h"
#include "tenancy/log/verify.h"
#include "tenancy/log/verify_keys.h"
#include "tenancy/log/verify_subjects.h"
#include "tenancy/log/verify_tenants.h"

namespace tenancy::log {

// What somebody says about the chain's first `size` records.
struct Boundary {
  enum class Kind : uint8_t { kCheckpoint, kAnchor, kTenants };
  uint64_t size = 0;
  Kind kind = Kind::kCheckpoint;
  size_t which = 0;  // which checkpoint or anchor
  ChainHead head{};  // not of kTenants
};

// What a chain is compared with. Shared by the copies of its verifier.
struct ChainClaims {
  Class chain = Class::kSecurity;
  std::string segments;                     // the directory
  std::string checkpoints;                  // the file of the notes below
  uint64_t kept_from = 0;                   // where its kept records begin
  std::vector<uint64_t> stubs{};            // what comes before, ascending
  std::vector<uint64_t> firsts{};           // its segment files from there on, ascending
  const Manifest* manifest = nullptr;       // null when there is none to believe
  const Head* head = nullptr;               // the same
  const TenantsFile* tenants = nullptr;     // the same
  std::vector<Boundary> boundaries{};       // ascending by size
  std::vector<Digest256> note_hashes{};     // of the checkpoints, by number
  std::vector<uint64_t> note_offsets{};     // of their frames
  std::optional<Ed25519Public> public_key;  // of the manifest
  uint64_t promised = 0;                    // records that head, manifest or checkpoints speak of
  uint32_t epoch_max = 0;                   // the newest epoch that a file names
};

class ChainVerifier {
 public:
  // All must outlive it.
  ChainVerifier(Files& files, VerifyKeys& keys, const ChainClaims& claims);

  // One record, header or footer; false when the chain is at its end.
  bool step();
  ChainVerifier resume() const;

  const std::vector<Finding>& findings() const { return findings_; }
  const ChainCounts& counts() const { return counts_; }
  const SubjectMentions& subjects() const { return subjects_; }
  uint64_t bytes() const { return bytes_; }
  bool damaged() const { return damaged_; }  // it ended before the end
  // Where `step` goes on: the segment's file and the offset.
  const std::string& file() const { return file_; }
  uint64_t offset() const { return offset_; }
  // Whether nothing has been recorded for longer than twice the heartbeat interval.
  std::optional<Finding> silent_until(int64_t now_ns) const;

 private:
  struct Cut {
    uint64_t offset = 0;
    bool told = false;
    bool pruned = false;  // the segment is a stub by now
  };
  // What a `pruned` record says.
  struct Pruned {
    uint64_t kept_from = 0;
    std::string hash;
  };

  Finding finding(Verdict verdict, std::string code, std::string text) const;
  bool stop(Finding finding);  // adds it and ends the chain; false
  bool bad(std::string code, std::string text);
  bool note(Finding finding);  // adds it; true

  bool open_stub();
  bool read_stub(const std::string& bytes);
  bool pass_stub(const Stub& stub);
  bool end_of_stubs();
  bool check_pruned();
  // Whether the header continues what was read last, a stub.
  bool follows_stub(const SegmentHeader& header);
  bool attach();
  bool open_segment();
  bool check_header(const BlockView& block, SegmentHeader* header);
  bool check_link(const SegmentHeader& header);
  void find_cut();
  bool leave_cut();
  bool end_of_records(const SegmentReader::Item& item);
  bool end_of_last(const SegmentReader::Item& item);
  bool check_footer();
  bool check_manifest(bool cut, const Tag& mac);
  bool next_segment();
  bool finish();

  bool check_record(const RecordView& record);
  bool check_mac(const RecordView& record, Digest256* leaf);
  // `*entry`: the head of the record's tenant, if it has one.
  bool check_tenant(const RecordView& record, TenantEntry** entry);
  bool check_kind(const RecordView& record);
  bool check_genesis(const RecordView& record);
  bool check_repair(const RecordView& record);
  bool check_discarded(const RecordView& record, uint64_t segment, Cut* cut);
  bool check_checkpoint_record(const RecordView& record);
  bool made_meanwhile(uint64_t which, std::string_view hash) const;
  void check_silence(const RecordView& record);
  void check_boundaries();
  void check_boundary(const Boundary& boundary);
  void check_head();

  Files* files_;
  VerifyKeys* keys_;
  const ChainClaims* claims_;
  std::shared_ptr<SegmentReader> reader_{};

  bool done_ = false;
  bool damaged_ = false;
  bool open_ = false;
  size_t segment_ = 0;  // which of claims.firsts comes or is open
  std::string file_;
  uint64_t offset_ = 0;
  uint64_t first_ = kNoSequence;  // of the segment that is open or was last
  uint64_t cut_at_;               // where the open segment was cut
  bool left_by_cut_ = false;      // how the segment before was left

  uint64_t next_ = 0;
  uint32_t epoch_ = 0;
  Tag tag_{};
  const HmacKey* record_key_ = nullptr;
  CompactRange tree_{};  // before the open segment
  RangeMaker range_{};   // of the open segment
  TenantStates tenants_;
  std::map<uint64_t, Cut> cuts_{};
  size_t stub_ = 0;  // which of claims.stubs comes
  bool stubs_passed_ = false;
  uint64_t offset_of_cut_ = 0;  // where the records of the last stub's segment ended
  std::vector<Digest256> stub_hashes_{};
  std::vector<Pruned> pruned_{};

  int64_t last_time_ = 0;
  uint64_t interval_ = 0;
  bool quiet_by_right_ = true;  // nothing yet, or closed in good order
  size_t silences_ = 0;
  bool head_met_ = false;
  bool head_judged_ = false;
  size_t boundary_ = 0;
  bool trees_differ_ = false;

  std::vector<Finding> findings_{};
  ChainCounts counts_{};
  SubjectMentions subjects_{};
  uint64_t bytes_ = 0;
};

}  // namespace tenancy::log
