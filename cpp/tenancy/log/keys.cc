#include "tenancy/log/keys.h"

#include <algorithm>
#include <cassert>

#include "tenancy/log/bytes.h"

namespace tenancy::log {
namespace {

std::string derive(const LogId& log_id, const Digest256& key, std::string_view info, size_t bytes) {
  return hkdf_sha256(view_of(log_id), as_view(key), info, bytes);
}

void cleanse_text(std::string* text) {
  cleanse({reinterpret_cast<uint8_t*>(text->data()), text->size()});
}

HmacKey absorbed(std::string key) {
  HmacKey out(key);
  cleanse_text(&key);
  return out;
}

}  // namespace

void EpochKey::advance() {
  std::string next = derive(log_id_, key_, "tenancy log epoch", key_.size());
  std::copy(next.begin(), next.end(), key_.begin());
  cleanse_text(&next);
  ++epoch_;
}

EpochKey EpochKey::at(uint32_t epoch) const {
  assert(epoch >= epoch_);
  EpochKey key = *this;
  while (key.epoch_ < epoch) key.advance();
  return key;
}

HmacKey EpochKey::record_key(Class chain) const {
  std::string info = "tenancy log record";
  info += static_cast<char>(chain);
  return absorbed(derive(log_id_, key_, info, key_.size()));
}

HmacKey EpochKey::file_key() const {
  return absorbed(derive(log_id_, key_, "tenancy log file", key_.size()));
}

std::array<uint8_t, 16> EpochKey::check() const {
  assert(epoch_ == 0);
  const std::string bytes = derive(log_id_, key_, "tenancy log check", 16);
  return get_bytes<std::array<uint8_t, 16>>(bytes.data());
}

}  // namespace tenancy::log
