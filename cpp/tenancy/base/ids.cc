#include "tenancy/base/ids.h"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <mutex>

#include "tenancy/base/crypto.h"

namespace tenancy {
namespace {

constexpr char kBase32[] = "0123456789abcdefghjkmnpqrstvwxyz";
constexpr char kBase62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

constexpr std::string_view kKeyPrefix = "tk_";
constexpr size_t kKeyIdChars = 8;
constexpr size_t kKeySecretChars = 32;
constexpr size_t kKeyChecksumChars = 6;  // 62^6 > 2^32
constexpr size_t kKeyPublicChars = kKeyPrefix.size() + kKeyIdChars;
static_assert(kKeyPublicChars == kApiKeyPublicChars);
constexpr size_t kKeyBodyChars = kKeyPublicChars + kKeySecretChars;
constexpr size_t kKeyChars = kKeyBodyChars + kKeyChecksumChars;

// The random bits below a millisecond, which increase inside it: 64 and some more above them. The
// mask leaves the topmost of those clear in each fresh draw, so that more than 2^40 steps of up to
// 2^32 fit before it could overflow.
class Tail {
 public:
  struct Bits {
    uint16_t high;
    uint64_t low;
  };

  explicit Tail(uint16_t fresh_high_mask) : fresh_high_mask_(fresh_high_mask) {}

  Bits next(int64_t unix_ms) {
    if (unix_ms == last_ms_) {
      const uint64_t step =
          1 + (random_u64() >> 32);  // random, so that neighbours stay unguessable
      bits_.low += step;
      if (bits_.low < step) ++bits_.high;
      return bits_;
    }
    last_ms_ = unix_ms;
    bits_ = {static_cast<uint16_t>(random_u64() & fresh_high_mask_), random_u64()};
    return bits_;
  }

  void forget() { last_ms_ = -1; }

 private:
  uint16_t fresh_high_mask_;
  int64_t last_ms_ = -1;
  Bits bits_{};
};

// The state of this process. A child starts afresh, and never inherits a mutex that another thread
// of its parent held.
struct Generator {
  std::mutex mutex;
  Tail sortable{0x7fff};  // 80 bits
  Tail uuid{0x1ff};       // 74 bits: 12 beside the version, 62 beside the variant

  static Generator& instance() {
    static Generator* const generator = [] {
      pthread_atfork([] { instance().mutex.lock(); }, [] { instance().mutex.unlock(); },
                     [] {
                       instance().sortable.forget();
                       instance().uuid.forget();
                       instance().mutex.unlock();
                     });
      return new Generator;  // never freed: fork handlers outlive static destructors
    }();
    return *generator;
  }
};

uint64_t unix_ms_48(int64_t wall_ns) {
  return wall_ns < 0 ? 0 : static_cast<uint64_t>(wall_ns) / 1'000'000;
}

constexpr uint8_t kNotBase62 = 0x80;
constexpr auto kBase62Values = [] {
  std::array<uint8_t, 256> values{};
  values.fill(kNotBase62);
  for (uint8_t i = 0; i < 62; ++i) values[static_cast<uint8_t>(kBase62[i])] = i;
  return values;
}();

// Without a branch for each character: it is done for every key that comes.
bool all_base62(std::string_view text) {
  uint8_t seen = 0;
  for (const char c : text) seen |= kBase62Values[static_cast<uint8_t>(c)];
  return (seen & kNotBase62) == 0;
}

// The number that so many digits of base 62 write.
uint64_t base62_number(std::string_view digits) {
  uint64_t number = 0;
  for (const char c : digits) number = number * 62 + kBase62Values[static_cast<uint8_t>(c)];
  return number;
}

std::array<char, kKeyChecksumChars> key_checksum(std::string_view body) {
  std::array<char, kKeyChecksumChars> text;
  uint32_t crc = crc32c(body);
  for (size_t i = text.size(); i-- > 0; crc /= 62) text[i] = kBase62[crc % 62];
  return text;
}

}  // namespace

std::string sortable_id(std::string_view prefix, int64_t wall_ns) {
  const uint64_t unix_ms = unix_ms_48(wall_ns);
  Tail::Bits tail;
  {
    Generator& generator = Generator::instance();
    const std::lock_guard lock(generator.mutex);
    tail = generator.sortable.next(static_cast<int64_t>(unix_ms));
  }
  // 128 bits in 26 characters of 5, from the right; the first character holds the top 3.
  uint64_t low = tail.low;
  uint64_t high = unix_ms << 16 | tail.high;
  std::array<char, 26> text;
  for (size_t i = text.size(); i-- > 0;) {
    text[i] = kBase32[low & 31];
    low = low >> 5 | high << 59;
    high >>= 5;
  }
  std::string id;
  id.reserve(prefix.size() + text.size());
  id.append(prefix).append(text.data(), text.size());
  return id;
}

std::string uuid7(int64_t wall_ns) {
  const uint64_t unix_ms = unix_ms_48(wall_ns);
  Tail::Bits tail;
  {
    Generator& generator = Generator::instance();
    const std::lock_guard lock(generator.mutex);
    tail = generator.uuid.next(static_cast<int64_t>(unix_ms));
  }
  const uint64_t rand_a = (static_cast<uint64_t>(tail.high) << 2 | tail.low >> 62) & 0xfff;
  const uint64_t high = unix_ms << 16 | 0x7000 | rand_a;
  const uint64_t low = uint64_t{2} << 62 | (tail.low & ((uint64_t{1} << 62) - 1));

  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  text.reserve(36);
  for (unsigned nibble = 0; nibble < 32; ++nibble) {
    if (nibble == 8 || nibble == 12 || nibble == 16 || nibble == 20) text += '-';
    const uint64_t word = nibble < 16 ? high : low;
    text += kHex[word >> (60 - 4 * (nibble % 16)) & 15];
  }
  return text;
}

std::string random_base62(size_t chars) {
  std::string text;
  text.reserve(chars);
  std::array<uint8_t, 64> pool;
  while (text.size() < chars) {
    const size_t missing = chars - text.size();
    const std::span<uint8_t> drawn(pool.data(), std::min(pool.size(), missing + missing / 16 + 2));
    random_bytes(drawn);
    for (const uint8_t byte : drawn) {
      const unsigned value = byte & 63U;
      // 62 and 63 are drawn again: folding them in would favour two letters.
      if (value < 62 && text.size() < chars) text += kBase62[value];
    }
  }
  return text;
}

ApiKeyText make_api_key() {
  ApiKeyText key;
  key.full.reserve(kKeyChars);
  key.full.append(kKeyPrefix).append(random_base62(kKeyIdChars + kKeySecretChars));
  const auto checksum = key_checksum(key.full);
  key.full.append(checksum.data(), checksum.size());
  key.public_id = key.full.substr(0, kKeyPublicChars);
  return key;
}

std::optional<std::string_view> api_key_public_id(std::string_view key) {
  if (key.size() != kKeyChars || !key.starts_with(kKeyPrefix)) return std::nullopt;
  if (!all_base62(key.substr(kKeyPrefix.size()))) return std::nullopt;
  if (base62_number(key.substr(kKeyBodyChars)) != crc32c(key.substr(0, kKeyBodyChars))) {
    return std::nullopt;
  }
  return key.substr(0, kKeyPublicChars);
}

}  // namespace tenancy
