#include "tenancy/engine/fact_fields.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "tenancy/base/ids.h"
#include "tenancy/base/utf8.h"

namespace tenancy {
namespace {

constexpr size_t kTextBytesMax = 512;
constexpr size_t kForeignBytesMax = 4096;  // of which so much is looked at

// Cut between two characters.
std::string_view shortened(std::string_view text, size_t most = kTextBytesMax) {
  if (text.size() <= most) return text;
  size_t end = most;
  while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end);
}

std::string_view without_secret(std::string_view text) {
  constexpr std::string_view kSession = "sess_";
  if (text.starts_with("tk_")) return text.substr(0, kApiKeyPublicChars);
  return text.starts_with(kSession) ? kSession : text;
}

// "/hooks/tk_live_…/send" without what makes the key a secret.
std::string without_secrets(std::string_view text) {
  std::string out;
  while (true) {
    const size_t at = std::min(text.find("tk_"), text.find("sess_"));
    out += text.substr(0, at);
    if (at == std::string_view::npos) return out;
    text.remove_prefix(at);
    const size_t end = std::min(text.find_first_of("/ "), text.size());
    out += without_secret(text.substr(0, end));
    text.remove_prefix(end);
  }
}

std::string spelled_out(std::string_view bytes) {
  std::string out(bytes.substr(0, kTextBytesMax));
  std::ranges::replace_if(
      out, [](char c) { return static_cast<uint8_t>(c) >= 0x80; }, '?');
  return out;
}

bool printable(std::string_view bytes) {
  return std::ranges::all_of(bytes, [](char c) { return c > ' ' && c <= '~'; });
}

}  // namespace

void FactFields::put(log::FieldId id, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  value = without_secret(value);
  if (!is_utf8(value)) {
    made_.push_front(spelled_out(value));
    value = made_.front();
  }
  add_text(id, name, shortened(value));
}

void FactFields::foreign(log::FieldId id, std::string_view name, std::string_view value) {
  value = shortened(value, kForeignBytesMax);
  // Every credential has one; most paths and user agents have none.
  if (value.find('_') != std::string_view::npos &&
      (value.find("tk_") != std::string_view::npos ||
       value.find("sess_") != std::string_view::npos)) {
    made_.push_front(without_secrets(value));
    value = made_.front();
  }
  put(id, name, value);
}

void FactFields::address(std::string_view ip) {
  if (ip.size() != 8 || printable(ip)) {
    text(log::FieldId::kIp, ip);
    return;
  }
  std::array<char, 32> shown;
  char* at = shown.data();
  for (size_t i = 0; i < ip.size(); i += 2) {
    const unsigned group =
        static_cast<unsigned>(static_cast<uint8_t>(ip[i])) << 8 | static_cast<uint8_t>(ip[i + 1]);
    at = std::to_chars(at, shown.data() + shown.size(), group, 16).ptr;
    *at++ = ':';
  }
  made_.emplace_front(shown.data(), at).append(":/64");
  text(log::FieldId::kIp, made_.front());
}

std::span<const log::Field> PersonalMarks::marked(std::span<const log::Field> fields,
                                                  const PersonalFields& personal) {
  fields_.assign(fields.begin(), fields.end());
  for (log::Field& field : fields_) {
    const std::string_view name =
        field.id == log::FieldId::kNamed ? field.name : log::event_field_name(field.id);
    field.personal = personal.contains(name);
  }
  return fields_;
}

}  // namespace tenancy
