// Base64 with padding, RFC 4648 section 4. Internal.
//
// Thread safety: free functions without state.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tenancy::log {

std::string base64_encode(std::string_view bytes);
// Nothing unless the text is what `base64_encode` gives for some bytes.
std::optional<std::string> base64_decode(std::string_view text);

}  // namespace tenancy::log
