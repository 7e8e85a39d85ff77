// Names: what a name and a permission look like, and which known name somebody probably meant.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace tenancy {

constexpr size_t kNameCharsMax = 64;

// Not <cctype>: names mean the same under every locale.
constexpr bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// 1..64 of [A-Za-z0-9_.-], beginning with a letter: plans, features, quotas, actions, limits and
// roles.
bool is_name(std::string_view text);
// What `is_name` accepts, for messages.
extern const std::string_view kNameRule;

// "resource:action", each side 1..64 of [A-Za-z0-9_.-].
bool is_permission(std::string_view text);
// The same, with "*" allowed for a whole side.
bool is_permission_pattern(std::string_view text);

// Edits (insert, delete, replace, swap of neighbours) that turn one text into the other.
size_t edit_distance(std::string_view a, std::string_view b);

// The known name closest to `name`, or empty when none is near: at most a third of its letters may
// differ; upper and lower case, '_' and '-' count as the same.
std::string_view nearest_name(std::string_view name, const std::vector<std::string_view>& known);

// `text` in double quotes for a message: cut to a bearable length, control characters as '?'.
std::string in_quotes(std::string_view text);
// Each in double quotes, with ", " between them.
std::string in_quotes(const std::vector<std::string>& names);

}  // namespace tenancy
