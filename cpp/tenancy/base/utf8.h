// UTF-8 as RFC 3629 allows it: no overlong forms, no surrogates, nothing above U+10FFFF.
//
// Thread safety: free functions without state.
#pragma once

#include <string_view>

namespace tenancy {

bool is_utf8(std::string_view bytes);

}  // namespace tenancy
