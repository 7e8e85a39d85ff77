// Verification of a segment of hostile bytes: it ends, stays inside, and never calls them whole
// unless they are the records of the chain.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "../log/memory_files.h"
#include "tenancy/log/keys.h"
#include "tenancy/log/record.h"
#include "tenancy/log/segment.h"
#include "tenancy/log/verify.h"

using namespace tenancy;
using namespace tenancy::log;

namespace {

const EpochKey& first_key() {
  static const EpochKey key(LogId{1}, 0, Digest256{2});
  return key;
}

std::string key_file() {
  std::string content("\2\0\0\0\0\0\0\0", 8);
  content += as_view(first_key().secret());
  return make_block(kKeyMagic, first_key().log_id(), 0, first_key().file_key(), content);
}

std::string segment_of(std::string records) {
  static const HmacKey key = first_key().record_key(Class::kOther);
  // Tags and checksums are made right where the bytes let a record be: with the key at hand a
  // hostile writer goes on to what lies behind them.
  size_t at = 0;
  while (records.size() - at >= kRecordBytesMin) {
    uint32_t length = 0;
    std::memcpy(&length, records.data() + at, sizeof length);
    if (length < kRecordBytesMin || length > records.size() - at) break;
    const Digest256 tag = key.mac(std::string_view(records).substr(at, length - 36));
    std::memcpy(records.data() + at + length - 36, tag.data(), tag.size());
    const uint32_t crc = crc32c(std::string_view(records).substr(at, length - 4));
    std::memcpy(records.data() + at + length - 4, &crc, sizeof crc);
    at += length;
  }
  SegmentHeader header;
  header.chain = Class::kOther;
  return make_block(kSegmentMagic, first_key().log_id(), 0, first_key().file_key(),
                    header.content(), kSegmentHeaderBytes) +
         records;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  MemoryFiles files;
  files.content["key"] = key_file();
  files.content["log/segments/" + segment_name(Class::kOther, 0)] = segment_of(bytes);
  files.content["log/checkpoints"] = bytes;
  VerifyOptions options;
  options.log_directory = "log";
  options.key_path = "key";
  const Report report = verify(files, options);
  // There is no manifest and no head, so it is never whole.
  if (report.verdict != Verdict::kTampered && report.verdict != Verdict::kCannotVerify) {
    std::abort();
  }
  if (report_json(report).empty()) std::abort();
  return 0;
}
