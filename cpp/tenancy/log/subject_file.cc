#include "tenancy/log/subject_file.h"

#include "tenancy/log/bytes.h"

namespace tenancy::log {
namespace {

constexpr std::string_view kMagic{"TNCYSUB\0", 8};
constexpr std::string_view kErasingMagic{"TNCYERA\0", 8};
constexpr uint32_t kMajor = 1;
constexpr uint16_t kNone = 0xffff;
constexpr std::string_view kRemedy = "; restore it from a backup";

void put_crc(std::string* bytes) { put(bytes, crc32c(*bytes)); }

bool crc_fits(std::string_view bytes) {
  return get<uint32_t>(bytes.data() + bytes.size() - 4) ==
         crc32c(bytes.substr(0, bytes.size() - 4));
}

void put_text(std::string* out, std::string_view text) {
  put(out, static_cast<uint16_t>(text.size()));
  out->append(text);
}

std::string take_text(ByteReader* reader, uint16_t bytes) {
  std::string text(reader->rest().substr(0, bytes));
  reader->skip(bytes);
  return text;
}

}  // namespace

std::string SubjectSlot::bytes() const {
  std::string out;
  put_bytes(&out, id);
  put_bytes(&out, name);
  put_bytes(&out, key);
  put(&out, static_cast<uint32_t>(state));
  put(&out, uint32_t{0});
  put(&out, sequence);
  out.resize(kSubjectSlotBytes - 4);
  put_crc(&out);
  return out;
}

std::optional<SubjectSlot> SubjectSlot::parse(std::string_view bytes) {
  if (bytes.size() != kSubjectSlotBytes || !crc_fits(bytes)) return std::nullopt;
  ByteReader reader(bytes);
  SubjectSlot slot;
  slot.id = reader.bytes<SubjectKeyId>();
  slot.name = reader.bytes<Digest256>();
  slot.key = reader.bytes<AesKey>();
  const auto state = reader.number<uint32_t>();
  if (state < 1 || state > 3) return std::nullopt;
  slot.state = static_cast<SubjectState>(state);
  reader.skip(4);
  slot.sequence = reader.number<uint64_t>();
  return slot;
}

std::string SubjectsHeader::bytes() const {
  std::string out(kMagic);
  put(&out, kMajor);
  put(&out, uint32_t{0});
  put_bytes(&out, log_id);
  put_bytes(&out, secret);
  out.resize(kSubjectSlotBytes - 4);
  put_crc(&out);
  return out;
}

Result<SubjectsHeader> SubjectsHeader::parse(std::string_view bytes) {
  if (bytes.size() < kSubjectSlotBytes || !bytes.starts_with(kMagic)) {
    return Error{Code::kForeign, "no file of subject keys" + std::string(kRemedy)};
  }
  bytes = bytes.substr(0, kSubjectSlotBytes);
  if (!crc_fits(bytes))
    return Error{Code::kDamaged, "its header is damaged" + std::string(kRemedy)};
  ByteReader reader(bytes.substr(kMagic.size()));
  if (reader.number<uint32_t>() != kMajor) {
    return Error{Code::kVersion, "is of another major version; run: tenancy migrate"};
  }
  reader.skip(4);
  SubjectsHeader header;
  header.log_id = reader.bytes<LogId>();
  header.secret = reader.bytes<Digest256>();
  return header;
}

Digest256 SubjectsHeader::name(std::optional<std::string_view> tenant,
                               std::string_view subject) const {
  std::string text = "tenancy log subject";
  put(&text, tenant ? static_cast<uint16_t>(tenant->size()) : kNone);
  text += tenant.value_or(std::string_view());
  text += subject;
  return hmac_sha256(as_view(secret), text);
}

std::string Erasing::bytes() const {
  std::string out(kErasingMagic);
  put(&out, kMajor);
  put(&out, uint32_t{0});
  put_bytes(&out, id);
  put(&out, from);
  put(&out, time_ns);
  if (tenant) {
    put_text(&out, *tenant);
  } else {
    put(&out, kNone);
  }
  put_text(&out, by);
  put_text(&out, reason);
  put_crc(&out);
  return out;
}

Result<Erasing> Erasing::parse(std::string_view bytes) {
  const Error damaged{Code::kDamaged, "is damaged; run: tenancy audit verify"};
  if (bytes.size() < kErasingMagic.size() + 4 || !bytes.starts_with(kErasingMagic) ||
      !crc_fits(bytes)) {
    return damaged;
  }
  ByteReader reader(bytes.substr(kErasingMagic.size(), bytes.size() - kErasingMagic.size() - 4));
  if (reader.number<uint32_t>() != kMajor) {
    return Error{Code::kVersion, "is of another major version; run: tenancy migrate"};
  }
  reader.skip(4);
  Erasing out;
  out.id = reader.bytes<SubjectKeyId>();
  out.from = reader.number<uint64_t>();
  out.time_ns = reader.number<int64_t>();
  if (const auto length = reader.number<uint16_t>(); length != kNone) {
    out.tenant = take_text(&reader, length);
  }
  out.by = take_text(&reader, reader.number<uint16_t>());
  out.reason = take_text(&reader, reader.number<uint16_t>());
  if (!reader.ok()) return damaged;
  return out;
}

}  // namespace tenancy::log
