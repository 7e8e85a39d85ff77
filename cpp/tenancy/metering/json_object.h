// Whether a text is a JSON object (RFC 8259). Internal to this layer.
//
// Thread safety: a free function without state.
#pragma once

#include <string>
#include <string_view>

namespace tenancy::metering {

constexpr int kJsonDepthMax = 16;

// What is wrong with `text`, which is UTF-8, as one JSON object and nothing else, nested at most 16
// deep; empty when nothing is. Names that come twice are not looked for: whoever makes the text in
// the form of RFC 8785 has none.
std::string json_object_fault(std::string_view text);

}  // namespace tenancy::metering
