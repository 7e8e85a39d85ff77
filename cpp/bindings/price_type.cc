// PriceCore: a price with calls that take no detour. The classes of tenancy.pricing derive from it,
// so `price.amount(quantity)` goes straight to `price_amount`.
#include <memory>
#include <new>
#include <optional>
#include <vector>

#include "limiter_types.h"
#include "pricing_types.h"
#include "tenancy/billing/budget.h"
#include "tenancy/billing/explain.h"
#include "tenancy/catalog/price_book.h"
#include "tenancy/catalog/price_reader.h"
#include "tenancy/catalog/price_rules.h"

namespace tenancy {
namespace {

using PricePointer = std::shared_ptr<const Price>;

struct PriceCore {
  PyObject_HEAD PricePointer price;  // null until opened
};

PyTypeObject* g_type = nullptr;  // owned by the module for the life of the process

const Price* price_in(PyObject* self) {
  const Price* price = reinterpret_cast<PriceCore*>(self)->price.get();
  if (price == nullptr) PyErr_SetString(PyExc_RuntimeError, "this price was not initialised");
  return price;
}

// Most decimals are whole numbers of 64 bits, which have a short way.
std::optional<Decimal> amount_of_whole(const Price& price, Decimal quantity) {
  if (quantity.is_negative() || quantity.units() > INT64_MAX) return std::nullopt;
  const auto units = static_cast<int64_t>(quantity.units());
  if (units % Decimal::kOne != 0) return std::nullopt;
  return price.amount_of_whole(units / Decimal::kOne);
}

PyObject* amount_or_null(const Result<Decimal>& amount, const char* field) {
  if (amount.ok()) return new_decimal(*amount);
  set_invalid(field, amount.error());
  return nullptr;
}

// Runs what may throw on behalf of a C function.
template <class Call>
PyObject* guarded(Call call) {
  try {
    return call();
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

// (quantity, after=None, events=None), by position or name.
struct AmountArguments {
  PyObject* quantity = nullptr;
  PyObject* after = nullptr;
  PyObject* events = nullptr;
};

bool read_arguments(PyObject* const* args, Py_ssize_t positional, PyObject* names,
                    AmountArguments* out) {
  static constexpr const char* kNames[] = {"quantity", "after", "events"};
  PyObject** const found[] = {&out->quantity, &out->after, &out->events};
  if (positional > 3) {
    PyErr_Format(PyExc_TypeError, "amount() takes at most 3 arguments (%zd given)", positional);
    return false;
  }
  for (Py_ssize_t i = 0; i < positional; ++i) *found[i] = args[i];
  const Py_ssize_t named = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
  for (Py_ssize_t i = 0; i < named; ++i) {
    PyObject* name = PyTuple_GET_ITEM(names, i);
    size_t place = 0;
    while (place < 3 && PyUnicode_CompareWithASCIIString(name, kNames[place]) != 0) ++place;
    if (place == 3 || *found[place] != nullptr) {
      PyErr_Format(PyExc_TypeError, "amount() got an unexpected or repeated argument %R", name);
      return false;
    }
    *found[place] = args[positional + i];
  }
  if (out->quantity == nullptr) {
    PyErr_SetString(PyExc_TypeError, "amount() misses the argument 'quantity'");
    return false;
  }
  if (out->after == Py_None) out->after = nullptr;
  if (out->events == Py_None) out->events = nullptr;
  return true;
}

PyObject* amount_of_events_given(const Price& price, Decimal volume, PyObject* events) {
  const unsigned long long count = PyLong_Check(events) && !PyBool_Check(events)
                                       ? PyLong_AsUnsignedLongLong(events)
                                       : static_cast<unsigned long long>(-1);
  if (count == static_cast<unsigned long long>(-1)) {
    PyErr_Clear();
    set_invalid_value("events", "expected a whole number from 0", "");
    return nullptr;
  }
  return amount_or_null(price.amount_of_volume(volume, count), "events");
}

PyObject* price_amount(PyObject* self, PyObject* const* args, Py_ssize_t positional,
                       PyObject* names) {
  const Price* price = price_in(self);
  if (price == nullptr) return nullptr;
  if (positional == 1 && names == nullptr && PyLong_CheckExact(args[0])) {
    int overflow = 0;
    const long long quantity = PyLong_AsLongLongAndOverflow(args[0], &overflow);
    if (overflow == 0) {
      if (const std::optional<Decimal> amount = price->amount_of_whole(quantity)) {
        return new_decimal(*amount);
      }
    }
  }
  AmountArguments arguments;
  Decimal quantity;
  if (!read_arguments(args, positional, names, &arguments) ||
      !read_decimal(arguments.quantity, "quantity", &quantity)) {
    return nullptr;
  }
  if (arguments.after == nullptr && arguments.events == nullptr) {
    if (const std::optional<Decimal> amount = amount_of_whole(*price, quantity)) {
      return new_decimal(*amount);
    }
    return amount_or_null(price->amount(quantity), "quantity");
  }
  if (arguments.after != nullptr && arguments.events != nullptr) {
    set_invalid_value("events", "cannot be given together with `after`", "");
    return nullptr;
  }
  if (arguments.events != nullptr) {
    return amount_of_events_given(*price, quantity, arguments.events);
  }
  Decimal after;
  if (!read_decimal(arguments.after, "after", &after)) return nullptr;
  return amount_or_null(price->amount_after(quantity, after), "quantity");
}

PyObject* price_amounts(PyObject* self, PyObject* array) {
  const Price* price = price_in(self);
  if (price == nullptr) return nullptr;
  return guarded([&] {
    const Column quantities = column_of(array, "quantities", ColumnUse::kQuantities);
    Result<Amounts> amounts = [&] {
      const py::gil_scoped_release release;
      return price_column(*price, quantities, kThreadsMax);
    }();
    return py::cast(value_or_invalid(std::move(amounts), "quantities")).release().ptr();
  });
}

PyObject* price_amount_of_events(PyObject* self, PyObject* array) {
  const Price* price = price_in(self);
  if (price == nullptr) return nullptr;
  return guarded([&] {
    const Column column = column_of(array, "events", ColumnUse::kQuantities);
    if (const std::optional<int64_t> null = column.first_null()) {
      raise_invalid("events",
                    {Code::kInvalidArgument, "event " + std::to_string(*null) + " has no value"});
    }
    std::vector<Int128> units(static_cast<size_t>(column.length()));
    const int64_t bad = column.read_units(0, column.length(), units.data());
    if (bad >= 0) {
      raise_invalid("events",
                    {Code::kOutOfRange, "event " + std::to_string(bad) +
                                            ": expected a number below 10^26 of at most 12 digits "
                                            "after the point"});
    }
    std::vector<Decimal> volumes;
    volumes.reserve(units.size());
    for (const Int128 each : units) volumes.push_back(*Decimal::from_units(each));
    return to_decimal(value_or_invalid(price->amount_of_events(volumes), "events")).release().ptr();
  });
}

PyObject* price_explain(PyObject* self, PyObject* quantity) {
  const Price* price = price_in(self);
  if (price == nullptr) return nullptr;
  return guarded([&] {
    const Decimal value = decimal_or_raise(quantity, "quantity");
    py::list lines;
    for (const PriceLine& line : value_or_invalid(explain_price(*price, value), "quantity")) {
      const py::object packages =
          line.packages ? to_decimal(*line.packages) : py::object(py::none());
      lines.append(py::make_tuple(to_str(line_kind_name(line.kind)),
                                  line.tier == 0 ? py::object(py::none()) : py::int_(line.tier),
                                  to_decimal(line.quantity), to_decimal(line.unit), packages,
                                  to_decimal(line.amount)));
    }
    return lines.release().ptr();
  });
}

// (budget, step): the quantity, or None when there is no largest one.
PyObject* price_quantity_for(PyObject* self, PyObject* args) {
  PyObject* budget = nullptr;
  PyObject* step = nullptr;
  const Price* price = price_in(self);
  if (price == nullptr || PyArg_ParseTuple(args, "OO", &budget, &step) == 0) return nullptr;
  return guarded([&] {
    const Decimal most = decimal_or_raise(budget, "budget");
    const Decimal each = decimal_or_raise(step, "step");
    const auto quantity =
        value_or_invalid(quantity_for(*price, most, each), each > Decimal() ? "budget" : "step");
    return (quantity ? to_decimal(*quantity) : py::object(py::none())).release().ptr();
  });
}

py::object optional_decimal(const std::optional<Decimal>& value) {
  return value ? to_decimal(*value) : py::object(py::none());
}

PyObject* price_describe(PyObject* self, PyObject*) {
  const Price* price = price_in(self);
  if (price == nullptr) return nullptr;
  return guarded([&] {
    const PriceDef& def = price->def();
    py::list tiers;
    for (const TierDef& tier : def.tiers) {
      Decimal unit = tier.unit;
      if (is_percentage(def.model)) unit = *multiply(unit, Decimal(100));
      tiers.append(py::make_tuple(optional_decimal(tier.up_to), to_decimal(unit),
                                  to_decimal(tier.flat), to_decimal(tier.package)));
    }
    py::dict rules;
    for (const auto& [name, value] : rules_text(def.rules)) rules[to_str(name)] = value;
    py::dict result;
    result["model"] = to_str(price_model_name(def.model));
    result["tiers"] = tiers;
    result["included"] = to_decimal(def.included);
    result["base_fee"] = to_decimal(def.base_fee);
    result["minimum"] = optional_decimal(def.minimum);
    result["maximum"] = optional_decimal(def.maximum);
    result["currency"] = def.currency.empty() ? py::object(py::none()) : py::str(def.currency);
    result["rules"] = rules;
    result["fixed"] = to_decimal(def.fixed);
    result["free_events"] = def.free_events;
    result["minimum_per_event"] = optional_decimal(def.minimum_per_event);
    result["maximum_per_event"] = optional_decimal(def.maximum_per_event);
    return result.release().ptr();
  });
}

// (json): None, or a list of (path, message) of what is wrong.
PyObject* price_open(PyObject* self, PyObject* text) {
  return guarded([&] {
    const Json document = value_or_raise(Json::parse(utf8_view(text)));
    std::vector<CatalogError> errors;
    std::optional<PriceDef> def = parse_price(document, &errors);
    if (!def) {
      py::list result;
      for (const CatalogError& each : errors) {
        result.append(py::make_tuple(each.path, each.message));
      }
      return result.release().ptr();
    }
    auto price =
        std::make_shared<const Price>(value_or_invalid(Price::make(*std::move(def)), "price"));
    reinterpret_cast<PriceCore*>(self)->price = std::move(price);
    return py::none().release().ptr();
  });
}

// (other): becomes the same price.
PyObject* price_adopt(PyObject* self, PyObject* other) {
  return guarded([&] {
    reinterpret_cast<PriceCore*>(self)->price = price_of(other);
    return py::none().release().ptr();
  });
}

PyObject* price_new(PyTypeObject* type, PyObject*, PyObject*) {
  PyObject* self = type->tp_alloc(type, 0);
  if (self != nullptr) new (&reinterpret_cast<PriceCore*>(self)->price) PricePointer();
  return self;
}

void price_dealloc(PyObject* self) {
  reinterpret_cast<PriceCore*>(self)->price.~PricePointer();
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

template <class Fn>
PyCFunction as_method(Fn function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef kMethods[] = {
    {"amount", as_method(price_amount), METH_FASTCALL | METH_KEYWORDS,
     "amount(quantity, after=None, events=None)\n--\n\nWhat the quantity costs, exactly."},
    {"amounts", price_amounts, METH_O,
     "amounts(quantities)\n--\n\nThe amount of every quantity of an array."},
    {"amount_of_events", price_amount_of_events, METH_O,
     "amount_of_events(events)\n--\n\nWhat the events of a percentage cost together."},
    {"_explain", price_explain, METH_O, "Internal: the lines of an amount."},
    {"_quantity_for", price_quantity_for, METH_VARARGS, "Internal: what a budget buys."},
    {"_describe", price_describe, METH_NOARGS, "Internal: the definition as plain values."},
    {"_open", price_open, METH_O, "Internal: read a definition."},
    {"_adopt", price_adopt, METH_O, "Internal: become the same price."},
    {nullptr, nullptr, 0, nullptr}};

PyType_Slot kSlots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(price_dealloc)},
                        {Py_tp_new, reinterpret_cast<void*>(price_new)},
                        {Py_tp_methods, kMethods},
                        {Py_tp_doc, const_cast<char*>("A price.")},
                        {0, nullptr}};

PyType_Spec kSpec = {"tenancy._core.PriceCore", sizeof(PriceCore), 0,
                     Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, kSlots};

}  // namespace

PyObject* new_price_core(std::shared_ptr<const Price> price) {
  PyObject* self = price_new(g_type, nullptr, nullptr);
  if (self != nullptr) reinterpret_cast<PriceCore*>(self)->price = std::move(price);
  return self;
}

const std::shared_ptr<const Price>& price_of(const py::handle& object) {
  if (PyObject_TypeCheck(object.ptr(), g_type) == 0) {
    throw py::type_error("expected a price of tenancy.pricing");
  }
  if (price_in(object.ptr()) == nullptr) throw py::error_already_set();
  return reinterpret_cast<PriceCore*>(object.ptr())->price;
}

void bind_price_core(py::module_& module) {
  PyObject* type = PyType_FromSpec(&kSpec);
  if (type == nullptr) throw py::error_already_set();
  g_type = reinterpret_cast<PyTypeObject*>(type);
  module.add_object("PriceCore", type);
}

}  // namespace tenancy
