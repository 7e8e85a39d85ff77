#include "gate_arguments.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

namespace tenancy {
namespace {

constexpr uint64_t kAmountMax = uint64_t{1} << 61;

std::string_view optional_text(PyObject* value) {
  return value == Py_None ? std::string_view() : utf8_view(value);
}

// Asked for, but empty: a caller's mistake that must not read as "nothing was asked".
std::string_view asked_text(PyObject* value, const char* what) {
  const std::string_view text = optional_text(value);
  if (value != Py_None && text.empty()) {
    throw py::value_error(std::string(what) + ": empty; leave it out where none is asked for");
  }
  return text;
}

// bytes are taken as they are: a credential that is not UTF-8 is simply no credential of ours.
std::string_view text_or_bytes(PyObject* value) {
  if (PyBytes_Check(value)) {
    return {PyBytes_AS_STRING(value), static_cast<size_t>(PyBytes_GET_SIZE(value))};
  }
  return optional_text(value);
}

uint64_t units(PyObject* value, const std::string& what) {
  if (!PyLong_Check(value) || PyBool_Check(value)) {
    throw py::type_error(what + ": expected an int in whole units, got " +
                         std::string(Py_TYPE(value)->tp_name) + "; round it as you mean it first");
  }
  int overflow = 0;
  const long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
  if (overflow < 0 || (overflow == 0 && number < 0))
    throw py::value_error(what + ": must not be negative");
  if (overflow > 0 || static_cast<uint64_t>(number) > kAmountMax) {
    throw py::value_error(what + ": at most 2**61");
  }
  return static_cast<uint64_t>(number);
}

}  // namespace

void NameCache::clear() {
  for (Slot& slot : slots_) {
    Py_XDECREF(slot.name);
    slot = Slot{};
  }
}

void NameCache::keep(Slot* slot, PyObject* name, uint32_t index) {
  Py_INCREF(name);
  Py_XDECREF(slot->name);
  slot->name = name;
  slot->index = index;
}

void NameCache::raise_unknown(const char* what, PyObject* name) {
  throw py::value_error(std::string("unknown ") + what + " \"" + std::string(utf8_view(name)) +
                        "\": the catalog does not define it");
}

bool Arguments::set(std::string_view name, PyObject* value) {
  switch (name.size()) {
    case 2:
      if (name == "ip") return set_ip(value), true;
      break;
    case 4:
      if (name == "cost") return request.cost = units(value, "cost"), true;
      break;
    case 5:
      if (name == "hints") return set_hints(value), true;
      if (name == "roles") return set_roles(value), true;
      break;
    case 6:
      if (name == "tenant") return request.tenant = optional_text(value), true;
      if (name == "action") {
        if (value == Py_None) return true;
        action_named = true;
        request.action = names_.actions.index(value, "action", [&](std::string_view text) {
          return names_.catalog->action_index(text);
        });
        return true;
      }
      break;
    case 7:
      if (name == "api_key") return request.api_key = text_or_bytes(value), true;
      if (name == "session") return request.session = optional_text(value), true;
      if (name == "consume") return set_consume(value), true;
      if (name == "feature") {
        if (value == Py_None) return true;
        request.feature = names_.features.index(value, "feature", [&](std::string_view text) {
          return names_.catalog->feature_index(text);
        });
        return true;
      }
      break;
    case 8:
      if (name == "identity") return set_identity(value), true;
      if (name == "resource") return request.resource = asked_text(value, "resource"), true;
      if (name == "endpoint") return request.endpoint = optional_text(value), true;
      break;
    case 9:
      if (name == "principal") return request.principal = optional_text(value), true;
      break;
    case 10:
      if (name == "permission") return request.permission = asked_text(value, "permission"), true;
      break;
    case 11:
      if (name == "fingerprint") return request.fingerprint = text_or_bytes(value), true;
      if (name == "trust_hints") {
        const int truth = PyObject_IsTrue(value);
        if (truth < 0) throw py::error_already_set();
        return request.trust_hints = truth != 0, true;
      }
      break;
    case 18:
      if (name == "credential_expired") {
        const int truth = PyObject_IsTrue(value);
        if (truth < 0) throw py::error_already_set();
        return request.credential_expired = truth != 0, true;
      }
      break;
    case 15:
      if (name == "idempotency_key") {
        if (value == Py_None) return true;
        request.has_idempotency_key = true;
        return request.idempotency_key = text_or_bytes(value), true;
      }
      break;
    default: break;
  }
  return false;
}

void Arguments::set_hints(PyObject* value) {
  if (value == Py_None) return;
  if (PyUnicode_Check(value))
    throw py::type_error("hints: expected a sequence of str, got one str");
  hints_owner_ = py::reinterpret_steal<py::object>(
      PySequence_Fast(value, "hints: expected a sequence of str"));
  if (!hints_owner_) throw py::error_already_set();
  const auto count = static_cast<size_t>(PySequence_Fast_GET_SIZE(hints_owner_.ptr()));
  if (count > kHintsMax) throw py::value_error("hints: at most 8");
  for (size_t i = 0; i < count; ++i) {
    hints_[i] = utf8_view(PySequence_Fast_GET_ITEM(hints_owner_.ptr(), static_cast<Py_ssize_t>(i)));
  }
  hint_count_ = count;
}

void Arguments::set_roles(PyObject* value) {
  if (value == Py_None) return;
  if (PyUnicode_Check(value))
    throw py::type_error("roles: expected a sequence of str, got one str");
  roles_owner_ = py::reinterpret_steal<py::object>(
      PySequence_Fast(value, "roles: expected a sequence of str"));
  if (!roles_owner_) throw py::error_already_set();
  const auto count = static_cast<size_t>(PySequence_Fast_GET_SIZE(roles_owner_.ptr()));
  if (count > kRolesMax) throw py::value_error("roles: at most 64");
  for (size_t i = 0; i < count; ++i) {
    roles_.push_back(
        utf8_view(PySequence_Fast_GET_ITEM(roles_owner_.ptr(), static_cast<Py_ssize_t>(i))));
  }
}

void Arguments::set_identity(PyObject* value) {
  if (value == Py_None) return;
  const auto& identity = py::cast<const IdentityData&>(py::handle(value));
  request.has_identity = true;
  request.identity_principal = identity.principal;
  request.identity_scopes = identity.scopes;
  request.identity_scoped = identity.scoped;
  if (identity.roles) request.identity_roles = *identity.roles;
  identity_tenants_.assign(identity.tenants.begin(), identity.tenants.end());
}

void Arguments::set_consume(PyObject* value) {
  if (value == Py_None) return;
  if (!PyDict_Check(value))
    throw py::type_error("consume: expected a dict of quota name to amount");
  Py_ssize_t position = 0;
  PyObject* name = nullptr;
  PyObject* amount = nullptr;
  while (PyDict_Next(value, &position, &name, &amount) != 0) {
    if (ask_count == asks.size()) throw py::value_error("consume: at most 16 quotas at once");
    QuotaAsk& ask = asks[ask_count++];
    ask = QuotaAsk{};
    ask.quota = names_.quotas.index(
        name, "quota", [&](std::string_view text) { return names_.catalog->quota_index(text); });
    ask.amount = units(amount, "consume");
    ask.gauge = ask.quota < names_.gauges.size() && names_.gauges[ask.quota];
    any_gauge |= ask.gauge;
  }
}

// An IPv6 address counts as its /64: a subscriber owns that many addresses. IPv4 inside IPv6 is
// IPv4. What is no address at all is kept as it is, as an opaque name.
void Arguments::set_ip(PyObject* value) {
  const std::string_view text = optional_text(value);
  request.ip = text;
  if (text.find(':') == std::string_view::npos || text.size() >= INET6_ADDRSTRLEN) return;
  std::array<char, INET6_ADDRSTRLEN> terminated{};
  std::copy(text.begin(), text.end(), terminated.begin());
  in6_addr parsed{};
  if (inet_pton(AF_INET6, terminated.data(), &parsed) != 1) return;
  if (IN6_IS_ADDR_V4MAPPED(&parsed)) {
    const size_t last_colon = text.rfind(':');
    if (text.find('.') != std::string_view::npos) {
      request.ip = text.substr(last_colon + 1);
      return;
    }
    static_assert(INET_ADDRSTRLEN == 16);
    if (inet_ntop(AF_INET, parsed.s6_addr + 12, address_.data(), INET_ADDRSTRLEN) != nullptr) {
      request.ip = address_.data();
    }
    return;
  }
  std::memcpy(address_.data(), parsed.s6_addr, 8);
  request.ip = {address_.data(), 8};
}

void Arguments::finish() {
  request.hints = {hints_.data(), hint_count_};
  request.identity_tenants = identity_tenants_;
  if (roles_owner_) request.roles = roles_;
  request.consume = {asks.data(), ask_count};
}

}  // namespace tenancy
