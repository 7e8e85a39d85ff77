#include "tenancy/metering/usage_reader.h"

#include "tenancy/metering/batch.h"

namespace tenancy::metering {
namespace {

Status add_rows(const log::RecordView& record, UsageRows* out) {
  Result<BatchReader> batch = BatchReader::of_record(record);
  if (!batch) return batch.status();
  UsageRow row;
  row.sequence = record.sequence();
  row.recorded_ns = record.time_ns();
  row.tenant = *record.tenant();
  for (; batch->next(&row.event); ++row.number) out->rows.push_back(row);
  if (batch->ok()) return {};
  return {Code::kDamaged, "record " + std::to_string(record.sequence()) +
                              " of the chain usage holds no batch; run: tenancy audit verify"};
}

}  // namespace

Result<const std::string*> UsageReader::fetch() {
  if (ahead_.empty()) {
    log::RecordView found;
    const Result<bool> more = reader_->next(&found);
    if (!more) return more.status();
    if (!*more) return nullptr;
    ahead_ = found.bytes();
  }
  return &ahead_;
}

Result<UsageRows> UsageReader::read(uint64_t after, size_t limit) {
  UsageRows out;
  out.next = after;
  if (reader_ == nullptr || next_ != after) {
    ahead_.clear();
    Result<std::unique_ptr<log::Reader>> reader =
        log::Reader::open(log::Files::system(), directory_, log::Class::kUsage, after);
    if (!reader) return reader.status();
    reader_ = std::move(*reader);
    next_ = after;
  }
  while (out.rows.size() < limit) {
    const Result<const std::string*> bytes = fetch();
    if (!bytes) {
      reader_.reset();
      if (out.next == after) return bytes.status();
      break;  // told by the next call
    }
    if (*bytes == nullptr) break;
    log::RecordView record;
    log::RecordView::parse(**bytes, &record);
    if (record.kind() == log::Kind::kUsage) {
      const Result<BatchReader> batch = BatchReader::of_record(record);
      if (!batch) return batch.status();
      if (!out.rows.empty() && out.rows.size() + batch->events() > limit) break;
      log::RecordView kept;
      log::RecordView::parse(out.records.emplace_back(std::move(ahead_)), &kept);
      if (Status status = add_rows(kept, &out); !status) return status;
    }
    ahead_.clear();
    out.next = ++next_;
  }
  return out;
}

}  // namespace tenancy::metering
