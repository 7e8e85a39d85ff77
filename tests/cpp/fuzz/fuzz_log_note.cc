// Any text as a checkpoint, a verifier key and a file of checkpoints: what is accepted has one
// form.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "tenancy/log/checkpoint.h"

using namespace tenancy;
using namespace tenancy::log;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static const Ed25519Seed seed{7};
  static const VerifierKey key{log_origin(LogId{}), ed25519_public(seed)};

  if (const auto parsed = parse_verifier_key(text); parsed.ok()) {
    const std::string again = verifier_key(parsed->name, parsed->key);
    if (text.substr(0, again.size()) != again) std::abort();
  }
  if (const auto opened = open_note(text, key); opened.ok()) {
    if (!text.starts_with(opened->text())) std::abort();
  }
  // The same text under a signature that is right.
  if (text.ends_with('\n') && size < 4096) {
    const std::string note = sign_note(Checkpoint{.origin = key.name}, seed, key.key);
    const std::string line = note.substr(note.find("\n\n") + 2);
    (void)open_note(std::string(text) + "\n" + line, key).ok();
  }
  uint64_t end = 0;
  size_t framed = 0;
  for (const std::string_view note : split_checkpoints(text, &end)) framed += note.size() + 8;
  if (framed != end || end > size) std::abort();
  return 0;
}
