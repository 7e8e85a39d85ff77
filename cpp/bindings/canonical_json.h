// JSON texts in the form of RFC 8785, from Python values and from fields of records.
//
// Integers beyond 2^53 are decimal strings, because a reader of RFC 8785 has doubles only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "pybind.h"

namespace tenancy {

void json_text(std::string_view text, std::string* out);
void json_integer(int64_t value, std::string* out);
void json_unsigned(uint64_t value, std::string* out);
// None, bool, int, float, str, and dict (with str keys), list and tuple of them; TypeError and
// ValueError say what else was there.
void json_value(const py::handle& value, std::string* out);

// The order of member names: by UTF-16 code units.
bool json_name_less(std::string_view a, std::string_view b);

}  // namespace tenancy
