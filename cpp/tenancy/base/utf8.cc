#include "tenancy/base/utf8.h"

#include <cstdint>
#include <cstring>

namespace tenancy {
namespace {

// The bytes of a character after its first, and the bounds of the second; 0 for a wrong first byte.
struct Lead {
  size_t more = 0;
  uint8_t low = 0x80;
  uint8_t high = 0xbf;
};

Lead lead_of(uint8_t byte) {
  if (byte >= 0xc2 && byte <= 0xdf) return {1, 0x80, 0xbf};
  if (byte == 0xe0) return {2, 0xa0, 0xbf};
  if (byte == 0xed) return {2, 0x80, 0x9f};
  if (byte >= 0xe1 && byte <= 0xef) return {2, 0x80, 0xbf};
  if (byte == 0xf0) return {3, 0x90, 0xbf};
  if (byte >= 0xf1 && byte <= 0xf3) return {3, 0x80, 0xbf};
  if (byte == 0xf4) return {3, 0x80, 0x8f};
  return {};
}

constexpr uint64_t kHighBits = 0x8080808080808080;

template <class Word = uint64_t>
Word word_at(const char* at) {
  Word word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

// Most texts are, and without a branch for each of their bytes.
bool is_ascii(std::string_view bytes) {
  uint64_t seen = 0;
  if (bytes.size() < sizeof(uint32_t)) {
    for (const char c : bytes) seen |= static_cast<uint8_t>(c);
    return (seen & 0x80) == 0;
  }
  if (bytes.size() < sizeof(uint64_t)) {
    seen = word_at<uint32_t>(bytes.data()) |
           word_at<uint32_t>(bytes.data() + bytes.size() - sizeof(uint32_t));
    return (seen & kHighBits) == 0;
  }
  for (size_t at = 0; at + sizeof(uint64_t) <= bytes.size(); at += sizeof(uint64_t)) {
    seen |= word_at(bytes.data() + at);
  }
  seen |= word_at(bytes.data() + bytes.size() - sizeof(uint64_t));
  return (seen & kHighBits) == 0;
}

}  // namespace

bool is_utf8(std::string_view bytes) {
  if (is_ascii(bytes)) return true;
  while (!bytes.empty()) {
    if (bytes.size() >= sizeof(uint64_t) && (word_at(bytes.data()) & kHighBits) == 0) {
      bytes.remove_prefix(sizeof(uint64_t));
      continue;
    }
    const auto first = static_cast<uint8_t>(bytes[0]);
    if (first < 0x80) {
      bytes.remove_prefix(1);
      continue;
    }
    const Lead lead = lead_of(first);
    if (lead.more == 0 || bytes.size() <= lead.more) return false;
    const auto second = static_cast<uint8_t>(bytes[1]);
    if (second < lead.low || second > lead.high) return false;
    for (size_t i = 2; i <= lead.more; ++i) {
      if ((static_cast<uint8_t>(bytes[i]) & 0xc0) != 0x80) return false;
    }
    bytes.remove_prefix(lead.more + 1);
  }
  return true;
}

}  // namespace tenancy
