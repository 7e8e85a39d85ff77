// Any bytes as a record: reading stays inside them, and what is accepted has one encoding.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/base/crypto.h"
#include "tenancy/log/record.h"

using namespace tenancy;
using namespace tenancy::log;

namespace {

// A fuzzer cannot find a checksum by chance: the length and the checksum are made right.
std::string mended(std::string_view bytes) {
  std::string record(bytes);
  const auto length = static_cast<uint32_t>(record.size());
  std::memcpy(record.data(), &length, sizeof length);
  const uint32_t crc = crc32c(std::string_view(record).substr(0, length - 4));
  std::memcpy(record.data() + length - 4, &crc, sizeof crc);
  return record;
}

void read(const RecordView& view) {
  FieldCursor cursor = view.fields();
  Field field;
  size_t bytes = 0;
  while (cursor.next(&field)) bytes += field.value.bytes.size() + field.name.size();
  if (bytes > view.size()) std::abort();
  if (view.tenant().value_or("").size() > view.size()) std::abort();
  if (view.leaf().size() + 4 != view.size()) std::abort();
}

// What was accepted comes out again when it is written: no second form of the same event.
void write_again(const RecordView& view) {
  if (!view.encoding_fault().empty() || view.chain_code() >= kClasses) return;
  if (view.version() != kRecordVersion || view.algorithm() != kRecordAlgorithm) return;
  std::vector<Field> fields;
  FieldCursor cursor = view.fields();
  Field field;
  while (cursor.next(&field)) fields.push_back(field);
  if (fields.size() > kFieldsMax) return;
  RecordDraft draft;
  draft.chain = view.chain();
  draft.kind = view.kind();
  draft.epoch = view.epoch();
  draft.log_id = view.log_id();
  draft.time_ns = view.time_ns();
  draft.tenant = view.tenant();
  draft.fields = fields;
  std::string again;
  if (!encode_record(draft, &again)) std::abort();
  const size_t before_chain = view.size() - kRecordTailBytes;
  if (again.size() != view.size() ||
      again.compare(0, before_chain, view.bytes().substr(0, before_chain)) != 0) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  RecordView view;
  if (RecordView::parse(bytes, &view) == Framing::kRecord) read(view);
  if (size < kRecordBytesMin || size > kRecordBytesMax) return 0;
  const std::string record = mended(bytes);
  if (RecordView::parse(record, &view) != Framing::kRecord) return 0;
  read(view);
  write_again(view);
  return 0;
}
