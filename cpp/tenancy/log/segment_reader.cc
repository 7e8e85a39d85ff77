#include "tenancy/log/segment_reader.h"

#include <algorithm>

#include "tenancy/log/bytes.h"

namespace tenancy::log {
namespace {

constexpr size_t kPieceBytes = size_t{256} << 10;  // stays in a cache of the processor

// Where the last byte that is not zero ends; segments are mostly zeros at first.
size_t nonzero_end(std::string_view bytes) {
  size_t end = bytes.size();
  while (end >= 8 && get<uint64_t>(bytes.data() + end - 8) == 0) end -= 8;
  while (end > 0 && bytes[end - 1] == '\0') --end;
  return end;
}

}  // namespace

Result<SegmentReader> SegmentReader::open(Files& files, const std::string& path) {
  Result<std::unique_ptr<File>> file = files.open(path, OpenMode::kRead);
  if (!file) return file.status();
  return SegmentReader(std::move(*file));
}

Result<std::string_view> SegmentReader::window(uint64_t offset, size_t bytes) {
  const bool inside = offset >= buffer_offset_ && offset - buffer_offset_ <= buffer_.size();
  if (inside && buffer_.size() - (offset - buffer_offset_) >= bytes) {
    return std::string_view(buffer_).substr(offset - buffer_offset_, bytes);
  }
  if (inside) {
    buffer_.erase(0, offset - buffer_offset_);
  } else {
    buffer_.clear();
  }
  buffer_offset_ = offset;
  const size_t missing = std::max(bytes, kPieceBytes) - std::min(buffer_.size(), bytes);
  if (Status status = file_->read_at(offset + buffer_.size(), missing, &buffer_); !status) {
    return status;
  }
  return std::string_view(buffer_).substr(0, bytes);
}

Result<BlockView> SegmentReader::header() {
  const Result<std::string_view> bytes = window(0, kSegmentHeaderBytes);
  if (!bytes) return bytes.status();
  Result<BlockView> block = parse_block(kSegmentMagic, *bytes);
  if (block && block->bytes.size() != kSegmentHeaderBytes) {
    return Error{Code::kDamaged, "expected a header of 4096 bytes"};
  }
  return block;
}

Status SegmentReader::next(Item* item) {
  item->offset = offset_;
  item->step = Step::kBad;
  Result<std::string_view> head = window(offset_, 4);
  if (!head) return head.status();
  if (*head == kFooterMagic.substr(0, 4)) {
    item->step = Step::kFooter;
    return {};
  }
  size_t bytes = head->size() < 4 ? 4 : get<uint32_t>(head->data());
  if (bytes < 4 || bytes > kRecordBytesMax) bytes = 4;
  const Result<std::string_view> record = window(offset_, bytes);
  if (!record) return record.status();
  item->framing = RecordView::parse(*record, &item->record);
  if (item->framing == Framing::kRecord) {
    item->step = Step::kRecord;
    offset_ += item->record.size();
  } else if (item->framing == Framing::kEnd) {
    item->step = Step::kEnd;
  }
  return {};
}

Result<BlockView> SegmentReader::footer(uint64_t offset) {
  const Result<uint64_t> size = file_->size();
  if (!size) return size.status();
  Result<std::string_view> bytes = window(offset, kBlockHeadBytes);
  if (!bytes) return bytes.status();
  if (bytes->size() < kBlockHeadBytes) return Error{Code::kDamaged, "the footer is cut off"};
  const auto length = get<uint32_t>(bytes->data() + 16);
  if (length > *size - offset) return Error{Code::kDamaged, "the footer is cut off"};
  bytes = window(offset, length);
  if (!bytes) return bytes.status();
  return parse_block(kFooterMagic, *bytes);
}

Result<uint64_t> SegmentReader::data_end(uint64_t from) {
  const Result<uint64_t> size = file_->size();
  if (!size) return size.status();
  uint64_t end = from;
  for (uint64_t at = from; at < *size; at += kPieceBytes) {
    std::string piece;
    if (Status status = file_->read_at(at, kPieceBytes, &piece); !status) return status;
    if (const size_t last = nonzero_end(piece); last != 0) end = at + last;
  }
  return end;
}

Result<std::string> SegmentReader::bytes(uint64_t from, uint64_t to) {
  std::string out;
  if (Status status = file_->read_at(from, to - from, &out); !status) return status;
  return out;
}

}  // namespace tenancy::log
