// The syntax of the rate limit fields; see tenancy.headers for the rules and their sources.
#include "header_fields.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <memory>

namespace tenancy {
namespace {

__extension__ using Wide = unsigned __int128;

constexpr uint64_t kIntegerMax = 999'999'999'999'999;  // of a structured field: RFC 9651, 3.3.1
constexpr int64_t kSecondNs = 1'000'000'000;
constexpr int64_t kMillisecondNs = 1'000'000;

constexpr size_t kFields = 5;
constexpr const char* kNames[kProtocols][kFields] = {
    {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit-policy",
     "ratelimit"},
    {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit-Policy",
     "RateLimit"}};
enum Field : size_t { kLimit, kRemaining, kReset, kPolicy, kState };
PyObject* g_names[kProtocols][kFields];

int64_t divide_up(int64_t value, int64_t unit) { return value / unit + (value % unit > 0 ? 1 : 0); }

uint64_t integer(uint64_t value) { return std::min(value, kIntegerMax); }

void append_number(std::string* text, uint64_t value) {
  char digits[20];
  text->append(digits, std::to_chars(digits, digits + sizeof(digits), value).ptr);
}

py::object own(PyObject* made) {
  if (made == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(made);
}

// Everything shown is ASCII.
py::object value_of(std::string_view text, Protocol protocol) {
  const Py_ssize_t size = static_cast<Py_ssize_t>(text.size());
  return own(protocol == Protocol::kAsgi ? PyBytes_FromStringAndSize(text.data(), size)
                                         : PyUnicode_DecodeASCII(text.data(), size, nullptr));
}

// What stands in the quotation marks: a String holds printable ASCII (RFC 9651, 3.3.3), so the
// rest of a name is written as a Display String would have it (4.1.11). Different names stay so.
std::string escaped(std::string_view name) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (const char character : name) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte < 0x20 || byte > 0x7e || byte == '%') {
      out += {'%', kHex[byte >> 4], kHex[byte & 15]};
      continue;
    }
    if (byte == '"' || byte == '\\') out += '\\';
    out += character;
  }
  return out;
}

// `"api-60s"`: the name stays with one window, because clients keep policies by name and an action
// may have several windows.
std::string item_of(const ShownWindow& window) {
  std::string item = "\"" + (window.name.empty() ? "limit" : escaped(window.name)) + "-";
  if (window.window_ns % kSecondNs == 0) {
    append_number(&item, static_cast<uint64_t>(window.window_ns / kSecondNs));
    return item + "s\"";
  }
  append_number(&item, static_cast<uint64_t>(divide_up(window.window_ns, kMillisecondNs)));
  return item + "ms\"";
}

// What stays the same in the fields of a window.
struct Known {
  std::string name;
  uint64_t limit;
  int64_t window_ns;
  int64_t refill_ns;
  py::object limit_pair[kProtocols];
  py::object policy_pair[kProtocols];
  std::string state;  // the beginning, such as `"api-60s";r=`

  bool is_of(const ShownWindow& window) const {
    return limit == window.limit && window_ns == window.window_ns &&
           refill_ns == window.refill_ns && name == window.name;
  }
};

std::shared_ptr<const Known> learn(const ShownWindow& window) {
  auto known = std::make_shared<Known>();
  known->name = window.name;
  known->limit = window.limit;
  known->window_ns = window.window_ns;
  known->refill_ns = window.refill_ns;
  const std::string item = item_of(window);
  std::string size;
  append_number(&size, window.limit);
  std::string policy = item + ";q=";
  append_number(&policy, integer(window.limit));
  if (window.refill_ns >= kSecondNs) {  // the parameter is optional and knows whole seconds only
    policy += ";w=";
    append_number(&policy, static_cast<uint64_t>(divide_up(window.refill_ns, kSecondNs)));
  }
  known->state = item + ";r=";
  for (const Protocol protocol : {Protocol::kAsgi, Protocol::kWsgi}) {
    const size_t side = static_cast<size_t>(protocol);
    known->limit_pair[side] = make_pair_of(g_names[side][kLimit], value_of(size, protocol).ptr());
    known->policy_pair[side] =
        make_pair_of(g_names[side][kPolicy], value_of(policy, protocol).ptr());
  }
  return known;
}

// A few hundred windows are in use at a time; one that falls on another's place takes it over. The
// result is shared, because making an object may run finalizers, and those other requests.
std::shared_ptr<const Known> known_of(const ShownWindow& window) {
  constexpr size_t kPlaces = 1024;
  // Never destroyed: the interpreter is gone before statics are.
  static auto& known = *new std::array<std::shared_ptr<const Known>, kPlaces>();
  const size_t hash = std::hash<std::string_view>()(window.name) ^
                      (static_cast<size_t>(window.window_ns / kMillisecondNs) * 0x9e3779b97f4a7c15);
  std::shared_ptr<const Known>& place = known[(hash ^ (hash >> 32)) % kPlaces];
  if (place != nullptr && place->is_of(window)) return place;
  std::shared_ptr<const Known> learned = learn(window);
  std::shared_ptr<const Known> before = std::exchange(place, learned);
  return learned;
}

// Unix seconds, rounded up: by then it is whole again.
uint64_t reset_seconds(const ShownWindow& window, int64_t now_wall_ns) {
  const Wide ns = Wide{static_cast<uint64_t>(std::max<int64_t>(now_wall_ns, 0))} +
                  static_cast<uint64_t>(window.reset_after_ns);
  return static_cast<uint64_t>((ns + (kSecondNs - 1)) / kSecondNs);
}

// The effective window. Never so short that what remains in it would be a higher rate than the
// policy's, and no longer than a refused caller is asked to wait.
uint64_t state_seconds(const ShownWindow& window) {
  if (!window.allowed && window.retry_after_ns > 0) {
    return integer(static_cast<uint64_t>(divide_up(window.retry_after_ns, kSecondNs)));
  }
  Wide fair_ns =
      Wide{std::min(window.remaining, window.limit)} * static_cast<uint64_t>(window.refill_ns);
  if (window.limit != 0) fair_ns = (fair_ns + window.limit - 1) / window.limit;
  const int64_t ns = std::max(window.reset_after_ns, static_cast<int64_t>(fair_ns));
  return integer(static_cast<uint64_t>(divide_up(ns, kSecondNs)));
}

// Seconds as Python has them. What is beyond any clock is the farthest there is.
int64_t nanoseconds(double seconds, const char* what) {
  if (std::isnan(seconds)) throw py::value_error(std::string(what) + ": not a number");
  const double ns = seconds * 1e9;
  if (ns <= 0) return 0;
  return ns >= 9.2e18 ? int64_t{9'200'000'000'000'000'000} : static_cast<int64_t>(ns);
}

py::object attribute(py::handle object, const char* name) {
  return own(PyObject_GetAttrString(object.ptr(), name));
}
uint64_t number(py::handle window, const char* name) {
  const uint64_t value = PyLong_AsUnsignedLongLong(attribute(window, name).ptr());
  if (value == UINT64_MAX && PyErr_Occurred() != nullptr) throw py::error_already_set();
  return value;
}
int64_t time_of(py::handle window, const char* name) {
  const double seconds = PyFloat_AsDouble(attribute(window, name).ptr());
  if (seconds == -1.0 && PyErr_Occurred() != nullptr) throw py::error_already_set();
  return nanoseconds(seconds, name);
}

py::list fields_of(const py::object& window, int64_t now_wall_ns, Protocol protocol) {
  py::object keep;
  py::list fields;
  append_window_fields(fields.ptr(), shown_window(window, &keep), now_wall_ns, protocol);
  return fields;
}

}  // namespace

py::object make_pair_of(PyObject* name, PyObject* value) {
  py::object pair = own(PyTuple_New(2));
  PyTuple_SET_ITEM(pair.ptr(), 0, Py_NewRef(name));
  PyTuple_SET_ITEM(pair.ptr(), 1, Py_NewRef(value));
  return pair;
}

void append_to(PyObject* list, const py::object& item) {
  if (PyList_Append(list, item.ptr()) != 0) throw py::error_already_set();
}

ShownWindow shown_window(const LimitEntry& entry) {
  ShownWindow window;
  window.name = entry.rule->name;
  window.limit = entry.state.limit;
  window.remaining = entry.state.remaining;
  window.window_ns = entry.policy->window_ns;
  window.refill_ns = entry.policy->refill_ns();
  window.reset_after_ns = entry.state.reset_after_ns;
  window.retry_after_ns = entry.state.retry_after_ns;
  window.allowed = entry.state.allowed;
  return window;
}

ShownWindow shown_window(py::handle window, py::object* keep) {
  *keep = own(PyUnicode_AsEncodedString(attribute(window, "name").ptr(), "utf-8", "surrogatepass"));
  ShownWindow shown;
  shown.name = {PyBytes_AS_STRING(keep->ptr()), static_cast<size_t>(PyBytes_GET_SIZE(keep->ptr()))};
  shown.limit = number(window, "limit");
  shown.remaining = number(window, "remaining");
  shown.window_ns = time_of(window, "window");
  shown.refill_ns = time_of(window, "refill");
  shown.reset_after_ns = time_of(window, "reset_after");
  shown.retry_after_ns =
      attribute(window, "retry_after").is_none() ? kNever : time_of(window, "retry_after");
  const int allowed = PyObject_IsTrue(attribute(window, "allowed").ptr());
  if (allowed < 0) throw py::error_already_set();
  shown.allowed = allowed != 0;
  return shown;
}

void append_window_fields(PyObject* list, const ShownWindow& window, int64_t now_wall_ns,
                          Protocol protocol) {
  const size_t side = static_cast<size_t>(protocol);
  PyObject* const* names = g_names[side];
  const std::shared_ptr<const Known> known = known_of(window);
  const auto append_value = [&](PyObject* name, std::string_view text) {
    append_to(list, make_pair_of(name, value_of(text, protocol).ptr()));
  };
  // Its memory is used again. Nothing of Python runs between filling and copying it.
  static std::string text;
  append_to(list, known->limit_pair[side]);
  text.clear();
  append_number(&text, window.remaining);
  append_value(names[kRemaining], text);
  text.clear();
  append_number(&text, reset_seconds(window, now_wall_ns));
  append_value(names[kReset], text);
  append_to(list, known->policy_pair[side]);
  text = known->state;
  append_number(&text, integer(window.remaining));
  text += ";t=";
  append_number(&text, state_seconds(window));
  append_value(names[kState], text);
}

void bind_header_fields(py::module_& module) {
  for (size_t side = 0; side < kProtocols; ++side) {
    for (size_t field = 0; field < kFields; ++field) {
      const char* name = kNames[side][field];
      g_names[side][field] =
          own(side == 0 ? PyBytes_FromString(name) : PyUnicode_InternFromString(name))
              .release()
              .ptr();
    }
  }
  module.def(
      "limit_fields",
      [](const py::object& window, int64_t now_wall_ns) {
        return fields_of(window, now_wall_ns, Protocol::kAsgi);
      },
      py::arg("window"), py::arg("now_wall_ns"));
  module.def(
      "limit_headers",
      [](const py::object& window, int64_t now_wall_ns) {
        return fields_of(window, now_wall_ns, Protocol::kWsgi);
      },
      py::arg("window"), py::arg("now_wall_ns"));
}

}  // namespace tenancy
