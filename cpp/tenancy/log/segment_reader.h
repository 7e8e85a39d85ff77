// SegmentReader: the records of one segment file in order, read in large pieces. Internal.
//
// Thread safety: one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "tenancy/base/status.h"
#include "tenancy/log/io.h"
#include "tenancy/log/record.h"
#include "tenancy/log/segment.h"

namespace tenancy::log {

class SegmentReader {
 public:
  static Result<SegmentReader> open(Files& files, const std::string& path);

  // The header's block and content; kForeign, kVersion, kDamaged. Valid until `next`.
  Result<BlockView> header();

  enum class Step : uint8_t {
    kRecord,
    kFooter,  // the magic of a footer stands here
    kEnd,     // nothing was written here: zeros, or the end of the file
    kBad,     // neither a record nor nothing
  };
  struct Item {
    Step step = Step::kEnd;
    Framing framing = Framing::kEnd;
    uint64_t offset = 0;
    RecordView record;  // valid until the next call
  };
  // After anything but kRecord, the next call gives the same again.
  Status next(Item* item);
  // Goes on from there. Must be the offset of a record or of the end of records.
  void seek(uint64_t offset) { offset_ = offset; }
  // Reads the file again from here on: it may have grown since.
  void refresh() { buffer_.clear(); }

  // The block at `offset`, which `next` called a footer; its end is the end of the file if nothing
  // follows it. Valid until the next call.
  Result<BlockView> footer(uint64_t offset);
  // Where the last byte that is not zero ends, at or behind `from`; `from` if all are.
  Result<uint64_t> data_end(uint64_t from);
  Result<std::string> bytes(uint64_t from, uint64_t to);
  Result<uint64_t> size() { return file_->size(); }

 private:
  explicit SegmentReader(std::unique_ptr<File> file) : file_(std::move(file)) {}
  // What is there of [offset, offset + bytes).
  Result<std::string_view> window(uint64_t offset, size_t bytes);

  std::unique_ptr<File> file_;
  std::string buffer_;
  uint64_t buffer_offset_ = 0;
  uint64_t offset_ = kSegmentHeaderBytes;
};

}  // namespace tenancy::log
