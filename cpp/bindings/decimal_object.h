// Objects of decimal.Decimal, read and made where they lie.
//
// CPython gives extension modules no way to a Decimal but by its text, which takes 150 ns to make
// and 100 ns to read. Its objects have had one layout since 3.3 (Modules/_decimal/_decimal.c,
// PyDecObject; mpd_t of libmpdec). Whether the interpreter at hand has it is tried out at first use
// on numbers of every kind; where one of them differs, both functions here always decline and the
// callers go by text.
//
// Ownership: new references. Thread safety: under the interpreter's lock.
#pragma once

#include "pybind.h"
#include "tenancy/base/decimal.h"

namespace tenancy {

// Reads an object whose type is `decimal_class` itself. False without an exception where it must be
// read by its text: it is no finite number, has more than 19 digits or more than 12 after the
// point.
bool read_decimal_object(PyObject* object, PyObject* decimal_class, Decimal* out);

// A new object with the shortest digits, as Decimal::write gives them; null without an exception
// where it must be made by its text, null with one where there is no memory.
PyObject* make_decimal_object(Decimal value, PyObject* decimal_class);

}  // namespace tenancy
