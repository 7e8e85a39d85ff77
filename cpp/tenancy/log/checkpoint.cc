#include "tenancy/log/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "tenancy/base/utf8.h"
#include "tenancy/log/base64.h"
#include "tenancy/log/bytes.h"

namespace tenancy::log {
namespace {

constexpr std::string_view kOriginPrefix = "tenancy-log/";
constexpr std::string_view kDash = "\xe2\x80\x94";  // U+2014
constexpr char kEd25519 = 1;                        // signature type of C2SP signed-note
constexpr size_t kKeyHashBytes = 4;
constexpr size_t kNoteBytesMax = size_t{1} << 20;
constexpr size_t kSignaturesMax = 100;

std::string key_hash(std::string_view name, const Ed25519Public& key) {
  std::string text(name);
  text += '\n';
  text += kEd25519;
  put_bytes(&text, key);
  return std::string(as_view(sha256(text)).substr(0, kKeyHashBytes));
}

Error malformed(const std::string& what) { return {Code::kDamaged, "not a checkpoint: " + what}; }

// The next line without its end; nothing when there is none.
std::optional<std::string_view> line(std::string_view* rest) {
  const size_t end = rest->find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view out = rest->substr(0, end);
  rest->remove_prefix(end + 1);
  return out;
}

std::optional<std::string_view> word(std::string_view* rest) {
  const size_t end = std::min(rest->find(' '), rest->size());
  if (end == 0) return std::nullopt;
  const std::string_view out = rest->substr(0, end);
  rest->remove_prefix(std::min(end + 1, rest->size()));
  return out;
}

// Decimal without leading zeros, as it is written.
template <class Number>
bool number(std::optional<std::string_view> text, Number* out) {
  if (!text) return false;
  const auto [at, error] = std::from_chars(text->data(), text->data() + text->size(), *out);
  return error == std::errc() && at == text->data() + text->size() && std::to_string(*out) == *text;
}

bool hash(std::optional<std::string_view> text, Digest256* out) {
  const auto bytes = text ? base64_decode(*text) : std::nullopt;
  if (!bytes || bytes->size() != out->size()) return false;
  *out = get_bytes<Digest256>(bytes->data());
  return true;
}

bool chain_line(std::string_view text, std::string_view name, ChainHead* head) {
  return word(&text) == "chain" && word(&text) == name && number(word(&text), &head->size) &&
         hash(word(&text), &head->root) && number(word(&text), &head->tenants) &&
         hash(word(&text), &head->tenants_root) && text.empty();
}

bool parse_text(std::string_view text, Checkpoint* out) {
  const auto origin = line(&text);
  uint64_t size = 0;
  if (!origin || !number(line(&text), &size) || size == 0 || !hash(line(&text), &out->root)) {
    return false;
  }
  out->origin = *origin;
  out->number = size - 1;
  for (size_t i = 0; i < kClasses; ++i) {
    const auto chain = line(&text);
    if (!chain || !chain_line(*chain, kClassNames[i], &out->chains[i])) return false;
  }
  auto epoch = line(&text);
  return epoch && word(&*epoch) == "epoch" && number(word(&*epoch), &out->epoch) &&
         number(word(&*epoch), &out->time_ns) && epoch->empty() && text.empty();
}

}  // namespace

std::string log_origin(const LogId& log_id) { return std::string(kOriginPrefix) + hex(log_id); }

std::string Checkpoint::leaf() const {
  std::string out;
  for (size_t i = 0; i < kClasses; ++i) {
    out += "chain " + std::string(kClassNames[i]) + " " + std::to_string(chains[i].size) + " " +
           base64_encode(as_view(chains[i].root)) + " " + std::to_string(chains[i].tenants) + " " +
           base64_encode(as_view(chains[i].tenants_root)) + "\n";
  }
  return out + "epoch " + std::to_string(epoch) + " " + std::to_string(time_ns) + "\n";
}

std::string Checkpoint::text() const {
  return origin + "\n" + std::to_string(number + 1) + "\n" + base64_encode(as_view(root)) + "\n" +
         leaf();
}

std::string verifier_key(std::string_view name, const Ed25519Public& key) {
  std::string bytes(1, kEd25519);
  put_bytes(&bytes, key);
  return std::string(name) + "+" + hex(key_hash(name, key)) + "+" + base64_encode(bytes);
}

Result<VerifierKey> parse_verifier_key(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  const size_t first = text.find('+');
  const size_t second = first == std::string_view::npos ? first : text.find('+', first + 1);
  const auto bytes =
      second == std::string_view::npos ? std::nullopt : base64_decode(text.substr(second + 1));
  if (!bytes || bytes->size() != 33 || (*bytes)[0] != kEd25519) {
    return Error{Code::kInvalidArgument,
                 "expected a verifier key: <name>+<key hash>+<base64 of an Ed25519 key>"};
  }
  VerifierKey out{std::string(text.substr(0, first)), get_bytes<Ed25519Public>(bytes->data() + 1)};
  if (out.name.empty() || out.name.find_first_of(" \n") != std::string::npos ||
      verifier_key(out.name, out.key) != text) {
    return Error{Code::kInvalidArgument, "the verifier key's hash is not that of its key"};
  }
  return out;
}

std::string sign_note(const Checkpoint& checkpoint, const Ed25519Seed& seed,
                      const Ed25519Public& key) {
  const std::string text = checkpoint.text();
  std::string signature = key_hash(checkpoint.origin, key);
  put_bytes(&signature, ed25519_sign(seed, text));
  return text + "\n" + std::string(kDash) + " " + checkpoint.origin + " " +
         base64_encode(signature) + "\n";
}

Result<Checkpoint> open_note(std::string_view note, const VerifierKey& key) {
  if (note.size() > kNoteBytesMax || !is_utf8(note)) return malformed("too long, or not UTF-8");
  if (std::any_of(note.begin(), note.end(),
                  [](char c) { return static_cast<unsigned char>(c) < ' ' && c != '\n'; })) {
    return malformed("it has control characters");
  }
  const size_t split = note.rfind("\n\n");
  if (split == std::string_view::npos) return malformed("no signatures");
  const std::string_view text = note.substr(0, split + 1);
  Checkpoint checkpoint;
  // One checkpoint has one text: what differs in a blank or a zero is not it.
  if (!parse_text(text, &checkpoint) || checkpoint.text() != text) {
    return malformed("its text is not in the form expected");
  }
  if (checkpoint.origin != key.name) {
    return Error{Code::kForeign,
                 "a checkpoint of " + checkpoint.origin + ", expected one of " + key.name};
  }
  std::string_view rest = note.substr(split + 2);
  const std::string hash = key_hash(key.name, key.key);
  for (size_t i = 0; !rest.empty(); ++i) {
    if (i == kSignaturesMax) return malformed("more than 100 signatures");
    auto signature = line(&rest);
    if (!signature || word(&*signature) != kDash) return malformed("a signature line");
    const auto name = word(&*signature);
    const auto bytes = base64_decode(*signature);
    if (!name || !bytes || bytes->size() <= kKeyHashBytes) return malformed("a signature line");
    if (name != key.name || bytes->size() != kKeyHashBytes + sizeof(Ed25519Signature) ||
        bytes->substr(0, kKeyHashBytes) != hash) {
      continue;
    }
    if (ed25519_verify(key.key, text, get_bytes<Ed25519Signature>(bytes->data() + kKeyHashBytes))) {
      return checkpoint;
    }
    break;
  }
  return Error{Code::kConflict, "no signature on the checkpoint is by the log's key"};
}

std::vector<std::string_view> split_checkpoints(std::string_view file, uint64_t* end) {
  std::vector<std::string_view> notes;
  size_t at = 0;
  while (file.size() - at >= 8) {
    const auto bytes = get<uint32_t>(file.data() + at);
    if (bytes == 0 || bytes > kNoteBytesMax || bytes > file.size() - at - 8) break;
    if (get<uint32_t>(file.data() + at + 4 + bytes) != crc32c(file.substr(at, 4 + bytes))) break;
    notes.push_back(file.substr(at + 4, bytes));
    at += 8 + bytes;
  }
  *end = at;
  return notes;
}

std::string frame_checkpoint(std::string_view note) {
  std::string frame;
  put(&frame, static_cast<uint32_t>(note.size()));
  frame.append(note);
  put(&frame, crc32c(frame));
  return frame;
}

}  // namespace tenancy::log
