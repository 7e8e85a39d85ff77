#include "tenancy/metering/settled.h"

#include "tenancy/base/crypto.h"
#include "tenancy/log/bytes.h"

namespace tenancy::metering {
namespace {

constexpr std::string_view kMagic{"TNCYIDX\0", 8};
constexpr uint32_t kMajor = 1;
constexpr uint32_t kMinor = 0;
constexpr size_t kTableBytes = 24;

}  // namespace

std::string Settled::bytes() const {
  std::string out(kMagic);
  log::put(&out, kMajor);
  log::put(&out, kMinor);
  log::put_bytes(&out, log_id);
  log::put(&out, key.k0);
  log::put(&out, key.k1);
  log::put(&out, window_ns);
  log::put(&out, end);
  log::put(&out, static_cast<uint32_t>(tables.size()));
  for (const Table& table : tables) {
    log::put(&out, table.number);
    log::put(&out, uint64_t{table.slots_log2});
    log::put(&out, table.last_ns);
  }
  log::put(&out, crc32c(out));
  return out;
}

Result<Settled> Settled::parse(std::string_view bytes) {
  if (!bytes.starts_with(kMagic)) return Error{Code::kForeign, "not the list of tables of ids"};
  if (bytes.size() < kMagic.size() + 4 ||
      log::get<uint32_t>(bytes.data() + kMagic.size()) != kMajor) {
    return Error{Code::kVersion, "the list of tables of ids is of another major version"};
  }
  const std::string_view summed = bytes.substr(0, bytes.size() - 4);
  if (log::get<uint32_t>(bytes.data() + summed.size()) != crc32c(summed)) {
    return Error{Code::kDamaged, "the list of tables of ids is damaged"};
  }
  log::ByteReader reader(summed.substr(kMagic.size() + 8));
  Settled out;
  out.log_id = reader.bytes<log::LogId>();
  out.key.k0 = reader.number<uint64_t>();
  out.key.k1 = reader.number<uint64_t>();
  out.window_ns = reader.number<int64_t>();
  out.end = reader.number<uint64_t>();
  const auto count = reader.number<uint32_t>();
  if (!reader.has(count, kTableBytes)) {
    return Error{Code::kDamaged, "the list of tables of ids is too short"};
  }
  for (uint32_t i = 0; i < count; ++i) {
    Table table;
    table.number = reader.number<uint64_t>();
    table.slots_log2 = static_cast<unsigned>(reader.number<uint64_t>() & 63);
    table.last_ns = reader.number<int64_t>();
    out.tables.push_back(table);
  }
  return out;
}

}  // namespace tenancy::metering
