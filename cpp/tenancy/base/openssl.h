// What every file that calls OpenSSL needs.
#pragma once

#include <string_view>

namespace tenancy {

// Ends the process: an OpenSSL without an algorithm of its own, or without memory for a context.
// Nothing sensible can follow.
[[noreturn]] void give_up(const char* what);

inline void require(bool ok, const char* what) {
  if (!ok) give_up(what);
}

inline const unsigned char* as_uchar(std::string_view bytes) {
  // A view may be empty with a null pointer, which OpenSSL reads as "no argument".
  static const unsigned char kEmpty = 0;
  return bytes.empty() ? &kEmpty : reinterpret_cast<const unsigned char*>(bytes.data());
}

// Deleter of an object that OpenSSL frees with `kFree`.
template <auto kFree>
struct Freed {
  template <class T>
  void operator()(T* object) const {
    kFree(object);
  }
};

}  // namespace tenancy
