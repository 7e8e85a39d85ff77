#include "tenancy/log/reader.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "tenancy/log/segment_reader.h"
#include "tenancy/log/store.h"

namespace tenancy::log {
namespace {

class SegmentsReader final : public Reader {
 public:
  SegmentsReader(Files& files, const std::string& log_directory, Class chain, uint64_t from)
      : files_(files), paths_(Paths::of_log(log_directory)), chain_(chain), next_(from) {}

  Result<bool> next(RecordView* view) override;
  uint64_t position() const override { return next_; }
  Status begin();

 private:
  Status refresh();
  Result<std::string> find_segment() const;
  Status open_segment();
  Status continue_segment();

  Files& files_;
  const Paths paths_;
  const Class chain_;
  uint64_t next_;
  uint64_t durable_ = 0;  // sequence behind the last durable record
  std::optional<SegmentReader> segment_;
  std::string segment_name_;
};

// What is durable now, as the head says.
Status SegmentsReader::refresh() {
  const Result<HeadSlots> slots = read_head(files_, paths_);
  if (!slots) return slots.status();
  // A slot that is being written looks torn; the others are whole, and it is whole next time.
  if (const HeadSlots::Slot* best = slots->best()) {
    durable_ = std::max(durable_, best->head.chains[index(chain_)].next_sequence);
  }
  return {};
}

Status SegmentsReader::begin() {
  if (Status status = refresh(); !status) return status;
  if (next_ >= durable_) return {};
  return open_segment();
}

// The segment that holds `next_`: the last one that begins at or before it.
Result<std::string> SegmentsReader::find_segment() const {
  const Result<std::vector<std::string>> names = files_.list(paths_.segments);
  if (!names) return names.status();
  std::optional<uint64_t> first;
  std::optional<uint64_t> kept;
  for (const std::string& name : *names) {
    const auto parsed = parse_segment_name(name);
    if (!parsed || parsed->chain != chain_) continue;
    if (!kept || parsed->first < *kept) kept = parsed->first;
    if (parsed->first <= next_ && (!first || parsed->first > *first)) first = parsed->first;
  }
  if (!first) {
    return Error{Code::kOutOfRange, paths_.segments + ": records before " +
                                        std::to_string(kept.value_or(0)) + " of the chain " +
                                        std::string(class_name(chain_)) +
                                        " were pruned, asked for " + std::to_string(next_)};
  }
  return paths_.segments + "/" + log::segment_name(chain_, *first);
}

Status SegmentsReader::open_segment() {
  Result<std::string> name = find_segment();
  if (!name) return name.status();
  segment_name_ = std::move(*name);
  Result<SegmentReader> segment = SegmentReader::open(files_, segment_name_);
  if (!segment) return segment.status();
  segment_.emplace(std::move(*segment));
  SegmentReader::Item item;
  // Past what comes before `next_`.
  while (true) {
    if (Status status = segment_->next(&item); !status) return status;
    if (item.step != SegmentReader::Step::kRecord || item.record.sequence() >= next_) break;
  }
  segment_->seek(item.offset);
  return {};
}

// What was read ahead may be older than what has become durable since; and where the segment was
// cut, another one may hold what comes next.
Status SegmentsReader::continue_segment() {
  if (!segment_) return {};
  const Result<std::string> name = find_segment();
  if (!name) return name.status();
  if (*name == segment_name_) {
    segment_->refresh();
  } else {
    segment_.reset();
  }
  return {};
}

Result<bool> SegmentsReader::next(RecordView* view) {
  if (next_ >= durable_) {
    if (Status status = refresh(); !status) return status;
    if (next_ >= durable_) return false;
    if (Status status = continue_segment(); !status) return status;
  }
  for (int tries = 0; tries < 2; ++tries) {
    if (!segment_) {
      if (Status status = open_segment(); !status) return status;
    }
    SegmentReader::Item item;
    if (Status status = segment_->next(&item); !status) return status;
    if (item.step == SegmentReader::Step::kRecord && item.record.sequence() == next_) {
      *view = item.record;
      ++next_;
      return true;
    }
    segment_.reset();  // its end, or the place where it was cut
  }
  return Error{Code::kDamaged, segment_name_ + ": expected record " + std::to_string(next_) +
                                   ", found none; run: tenancy audit verify"};
}

}  // namespace

Result<std::unique_ptr<Reader>> Reader::open(Files& files, const std::string& log_directory,
                                             Class chain, uint64_t from) {
  auto reader = std::make_unique<SegmentsReader>(files, log_directory, chain, from);
  if (Status status = reader->begin(); !status) return status;
  return std::unique_ptr<Reader>(std::move(reader));
}

}  // namespace tenancy::log
