// EventHash: the keyed hashes by which an event is known. Internal to this layer. (FORMATS.md, 4.1)
//
// The same for an event that is being recorded and for one that is read from the log.
//
// Thread safety: one thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "tenancy/base/hash.h"
#include "tenancy/metering/batch.h"
#include "tenancy/metering/usage_event.h"

namespace tenancy::metering {

class EventHash {
 public:
  explicit EventHash(const HashKey& key)
      : key_(key), text_key_{key.k0, ~key.k1}, content_key_{~key.k0, key.k1} {}

  uint64_t text(std::string_view text) const { return siphash(text_key_, text); }
  // The key of the ids of a tenant and source.
  HashKey sender(std::string_view tenant, std::string_view source);
  static Hash128 id(const HashKey& sender, std::string_view id) { return siphash128(sender, id); }
  // Of what an event says; `hashes` are of its texts. A cancellation says nothing: 0.
  uint64_t content(const UsageEvent& event, const BatchWriter::Hashes& hashes) const;

  // What is hashed of an event that is not cancelled, for who hashes many at once.
  using Content = std::array<char, 48>;
  static Content bytes_of(const UsageEvent& event, const BatchWriter::Hashes& hashes);
  KeyedText keyed(const Content& bytes) const {
    return {content_key_, {bytes.data(), bytes.size()}};
  }
  KeyedText keyed(Content&& bytes) const = delete;  // it would outlive what it points to

 private:
  HashKey key_;
  HashKey text_key_;
  HashKey content_key_;
  std::string joined_;
};

}  // namespace tenancy::metering
