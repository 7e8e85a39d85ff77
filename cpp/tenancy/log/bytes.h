// Little-endian integers in byte strings. Internal.
//
// Thread safety: free functions without state.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace tenancy::log {

static_assert(std::endian::native == std::endian::little, "formats are little-endian");

template <class Number>
Number get(const char* at) {
  Number value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <class Number>
void put(char* at, Number value) {
  std::memcpy(at, &value, sizeof value);
}

template <class Number>
void put(std::string* out, Number value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out->append(bytes, sizeof value);
}

template <class Bytes>
void put_bytes(std::string* out, const Bytes& bytes) {
  out->append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

template <class Bytes>
Bytes get_bytes(const char* at) {
  Bytes bytes;
  std::memcpy(bytes.data(), at, bytes.size());
  return bytes;
}

template <class Bytes>
std::string_view view_of(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

template <class Bytes>
std::string hex(const Bytes& bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const auto byte : bytes) {
    text += kDigits[static_cast<uint8_t>(byte) >> 4];
    text += kDigits[static_cast<uint8_t>(byte) & 15];
  }
  return text;
}

// Reads numbers and byte arrays one after the other; after the first that does not fit everything
// is zero and `ok` false.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

  template <class Number>
  Number number() {
    return fits(sizeof(Number)) ? get<Number>(advance(sizeof(Number))) : Number{};
  }
  template <class Bytes>
  Bytes bytes() {
    return fits(Bytes{}.size()) ? get_bytes<Bytes>(advance(Bytes{}.size())) : Bytes{};
  }
  void skip(size_t count) {
    if (fits(count)) advance(count);
  }
  // Whether `count` items of `bytes` bytes each can still follow.
  bool has(uint64_t count, size_t bytes) { return fits_count(count, bytes); }
  bool ok() const { return ok_; }
  std::string_view rest() const { return rest_; }

 private:
  bool fits(size_t count) {
    if (count > rest_.size()) ok_ = false;
    return ok_;
  }
  bool fits_count(uint64_t count, size_t bytes) {
    if (count > rest_.size() / bytes) ok_ = false;
    return ok_;
  }
  const char* advance(size_t count) {
    const char* const at = rest_.data();
    rest_.remove_prefix(count);
    return at;
  }

  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace tenancy::log
