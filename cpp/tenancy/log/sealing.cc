#include "tenancy/log/sealing.h"

#include <algorithm>
#include <array>

#include "tenancy/log/bytes.h"

namespace tenancy::log {
namespace {

constexpr size_t kHeadBytes = sizeof(SubjectKeyId) + sizeof(GcmNonce);

std::string additional_data(const LogId& log_id, const Field& field) {
  std::string out(view_of(log_id));
  put(&out, static_cast<uint16_t>(field.id));
  out += field.name;
  return out;
}

bool to_seal(const Field& field) {
  return field.personal && field.value.type != ValueType::kNull &&
         field.value.type != ValueType::kSealed && field.id != FieldId::kEventId;
}

void seal_value(const SubjectSlot& key, const LogId& log_id, const Field& field, std::string* out) {
  std::array<char, 8> number{};
  std::string plain(1, static_cast<char>(field.value.type));
  plain += value_bytes(field.value, &number);
  GcmNonce nonce;
  random_bytes(nonce);
  out->clear();
  out->append(view_of(key.id)).append(view_of(nonce));
  aes256_gcm_seal(key.key, nonce, additional_data(log_id, field), plain, out);
}

}  // namespace

bool any_personal(std::span<const Field> fields) { return std::ranges::any_of(fields, to_seal); }

std::span<const Field> Sealer::seal(const SubjectSlot& key, const LogId& log_id,
                                    std::span<const Field> fields) {
  fields_.assign(fields.begin(), fields.end());
  if (sealed_.size() < fields_.size()) sealed_.resize(fields_.size());
  for (size_t i = 0; i < fields_.size(); ++i) {
    if (!to_seal(fields_[i])) continue;
    seal_value(key, log_id, fields_[i], &sealed_[i]);
    fields_[i].value = Value::sealed(sealed_[i]);
  }
  return fields_;
}

SubjectKeyId sealed_under(const Value& value) {
  return get_bytes<SubjectKeyId>(value.bytes.data());
}

Result<bool> Opener::open(Field* field, std::string* plain) {
  const std::string_view bytes = field->value.bytes;
  const Result<SubjectSlot> key = keys_.find(sealed_under(field->value));
  if (!key) return key.error().code == Code::kNotFound ? Result<bool>(false) : key.status();
  if (key->state != SubjectState::kLive) return false;
  const Result<LogId> log_id = keys_.log_id();
  if (!log_id) return log_id.status();
  const auto nonce = get_bytes<GcmNonce>(bytes.data() + sizeof(SubjectKeyId));
  plain->clear();
  const bool opened = aes256_gcm_open(key->key, nonce, additional_data(*log_id, *field),
                                      bytes.substr(kHeadBytes), plain);
  const bool valid = opened && !plain->empty() &&
                     static_cast<ValueType>((*plain)[0]) != ValueType::kSealed &&
                     read_value(static_cast<ValueType>((*plain)[0]),
                                std::string_view(*plain).substr(1), &field->value);
  if (valid) return true;
  return Error{Code::kDamaged, keys_.path() + ": key " + hex(key->id) +
                                   " does not open what was sealed with it; run: tenancy audit "
                                   "verify"};
}

}  // namespace tenancy::log
