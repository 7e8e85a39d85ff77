#include "tenancy/catalog/names.h"

#include <algorithm>
#include <array>

namespace tenancy {

const std::string_view kNameRule =
    "a name: a letter, then letters, digits, '_', '-' or '.', at most 64 characters";

namespace {

constexpr size_t kComparedCharsMax = 2 * kNameCharsMax;

bool is_name_char(char c) {
  return is_letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

bool is_side(std::string_view text, bool pattern) {
  if (pattern && text == "*") return true;
  return !text.empty() && text.size() <= kNameCharsMax && std::ranges::all_of(text, is_name_char);
}

bool is_permission_of(std::string_view text, bool pattern) {
  const size_t colon = text.find(':');
  return colon != text.npos && is_side(text.substr(0, colon), pattern) &&
         is_side(text.substr(colon + 1), pattern);
}

std::string folded(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '_' || c == '-' || c == ' ') continue;
    result += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return result;
}

}  // namespace

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= kNameCharsMax && is_letter(text[0]) &&
         std::ranges::all_of(text, is_name_char);
}

bool is_permission(std::string_view text) { return is_permission_of(text, false); }
bool is_permission_pattern(std::string_view text) { return is_permission_of(text, true); }

size_t edit_distance(std::string_view a, std::string_view b) {
  if (a.size() > kComparedCharsMax || b.size() > kComparedCharsMax)
    return std::max(a.size(), b.size());
  // Three rows of the usual table: a swap of neighbours looks two rows back.
  using Row = std::array<size_t, kComparedCharsMax + 1>;
  Row before{};
  Row above{};
  Row row{};
  for (size_t j = 0; j <= b.size(); ++j) above[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replace = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({replace, above[j] + 1, row[j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    before = above;
    above = row;
  }
  return above[b.size()];
}

std::string_view nearest_name(std::string_view name, const std::vector<std::string_view>& known) {
  const std::string wanted = folded(name);
  std::string_view best;
  size_t best_distance = std::max<size_t>(1, wanted.size() / 3) + 1;
  for (const std::string_view candidate : known) {
    const std::string other = folded(candidate);
    const size_t lengths_apart =
        other.size() > wanted.size() ? other.size() - wanted.size() : wanted.size() - other.size();
    if (lengths_apart >= best_distance) continue;
    const size_t distance = edit_distance(wanted, other);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::string in_quotes(std::string_view text) {
  constexpr size_t kShownBytesMax = 80;
  size_t end = std::min(text.size(), kShownBytesMax);
  // Never inside a UTF-8 sequence.
  while (end < text.size() && end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80)
    --end;
  std::string result = "\"";
  for (const char c : text.substr(0, end)) {
    const auto byte = static_cast<unsigned char>(c);
    result += byte < 0x20 || byte == 0x7F ? '?' : c;
  }
  result += end < text.size() ? "…\"" : "\"";
  return result;
}

std::string in_quotes(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + in_quotes(name);
  return text;
}

}  // namespace tenancy
