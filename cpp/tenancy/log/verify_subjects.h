// What the log says of subjects' keys, compared with the file that has them. Internal.
// (LOG_FORMAT.md, 11)
//
// Thread safety: plain values and free functions without state.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/log/record.h"
#include "tenancy/log/subject_file.h"
#include "tenancy/log/verify.h"

namespace tenancy::log {

struct RecordPlace {
  Class chain = Class::kSecurity;
  uint64_t sequence = 0;
  std::string file;
  uint64_t offset = 0;
};

// Keys that records name, each with the first of its records.
struct SubjectMentions {
  std::map<SubjectKeyId, RecordPlace> sealed{};
  std::map<SubjectKeyId, RecordPlace> erased{};

  // Takes in a record that has sealed fields or tells of an erasure.
  void add(const RecordView& record, const RecordPlace& place);
  void add(const SubjectMentions& others);
};

// How far the chain of `erased` records was read.
struct ErasedChain {
  uint64_t first = 0;    // what came before was pruned
  uint64_t next = 0;     // the record at which it ended, or damage was found
  bool damaged = false;  // what comes behind is not known
};

// The content of `keys/subjects`, empty when there is none, before and after the chains were read:
// beside a log that is written to, a key may be destroyed meanwhile.
struct SubjectFiles {
  std::string_view before;
  std::string_view now;
};

std::vector<Finding> judge_subjects(const SubjectFiles& files, const LogId& log_id,
                                    const SubjectMentions& mentions, const ErasedChain& chain);

}  // namespace tenancy::log
