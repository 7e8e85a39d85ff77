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

uint64_t units(PyObject* value, const char* what) {
  if (!PyLong_Check(value) || PyBool_Check(value)) {
    throw py::type_error(std::string(what) + ": expected an int in whole units, got " +
                         std::string(Py_TYPE(value)->tp_name) + "; round it as you mean it first");
  }
  int overflow = 0;
  const long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
  if (overflow < 0 || (overflow == 0 && number < 0))
    throw py::value_error(std::string(what) + ": must not be negative");
  if (overflow > 0 || static_cast<uint64_t>(number) > kAmountMax) {
    throw py::value_error(std::string(what) + ": at most 2**61");
  }
  return static_cast<uint64_t>(number);
}

bool truth(PyObject* value) {
  const int answer = PyObject_IsTrue(value);
  if (answer < 0) throw py::error_already_set();
  return answer != 0;
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

void KeywordCache::fill(Slot* slot, PyObject* names, const char* function) {
  static constexpr std::array<std::string_view, kKeywords> kNames{
      "action",     "api_key",  "consume",     "cost",      "credential_expired",
      "endpoint",   "feature",  "fingerprint", "hints",     "idempotency_key",
      "identity",   "ip",       "permission",  "principal", "request",
      "request_id", "resource", "roles",       "session",   "tenant",
      "trust_hints"};
  Keywords keywords{};
  for (size_t i = 0; i < static_cast<size_t>(PyTuple_GET_SIZE(names)); ++i) {
    const std::string_view name = utf8_view(PyTuple_GET_ITEM(names, static_cast<Py_ssize_t>(i)));
    const auto* const found = std::find(kNames.begin(), kNames.end(), name);
    if (found == kNames.end() || i == kKeywords) {
      throw py::type_error(std::string(function) + "() got an unexpected keyword argument '" +
                           std::string(name) + "'");
    }
    keywords[i] = static_cast<Keyword>(found - kNames.begin());
  }
  Py_INCREF(names);
  Py_XSETREF(slot->names, names);
  slot->keywords = keywords;
}

void Arguments::set(Keyword keyword, PyObject* value) {
  switch (keyword) {
    case Keyword::kAction:
      if (value == Py_None) return;
      action_named = true;
      request.action = names_.actions.index(value, "action", [&](std::string_view text) {
        return names_.catalog->action_index(text);
      });
      return;
    case Keyword::kApiKey: request.api_key = text_or_bytes(value); return;
    case Keyword::kConsume: return set_consume(value);
    case Keyword::kCost: request.cost = units(value, "cost"); return;
    case Keyword::kCredentialExpired: request.credential_expired = truth(value); return;
    case Keyword::kEndpoint: request.endpoint = optional_text(value); return;
    case Keyword::kFeature:
      if (value == Py_None) return;
      request.feature = names_.features.index(value, "feature", [&](std::string_view text) {
        return names_.catalog->feature_index(text);
      });
      return;
    case Keyword::kFingerprint: request.fingerprint = text_or_bytes(value); return;
    case Keyword::kHints: return set_hints(value);
    case Keyword::kIdempotencyKey:
      if (value == Py_None) return;
      request.has_idempotency_key = true;
      request.idempotency_key = text_or_bytes(value);
      return;
    case Keyword::kIdentity: return set_identity(value);
    case Keyword::kIp: return set_ip(value);
    case Keyword::kPermission: request.permission = asked_text(value, "permission"); return;
    case Keyword::kPrincipal: request.principal = optional_text(value); return;
    case Keyword::kRequest: set_origin(value); return;
    case Keyword::kRequestId: request.request_id = text_or_bytes(value); return;
    case Keyword::kResource: request.resource = asked_text(value, "resource"); return;
    case Keyword::kRoles: return set_roles(value);
    case Keyword::kSession: request.session = optional_text(value); return;
    case Keyword::kTenant: request.tenant = optional_text(value); return;
    case Keyword::kTrustHints: request.trust_hints = truth(value); return;
  }
}

void Arguments::set_origin(PyObject* web_request) {
  if (web_request == nullptr || web_request == Py_None) return;
  origin_.set(web_request);
  request.origin = &origin_;
}

void Arguments::set_hints(PyObject* value) {
  if (value == Py_None) return;
  if (PyUnicode_Check(value))
    throw py::type_error("hints: expected a sequence of str, got one str");
  hints_owner_ =
      py::reinterpret_steal<py::object>(PySequence_Fast(value, "expected a sequence of str"));
  if (!hints_owner_) throw py::error_already_set();
  const auto count = static_cast<size_t>(PySequence_Fast_GET_SIZE(hints_owner_.ptr()));
  if (count > kHintsMax) throw py::value_error("hints: at most 8");
  for (size_t i = 0; i < count; ++i) {
    hints_.push(
        utf8_view(PySequence_Fast_GET_ITEM(hints_owner_.ptr(), static_cast<Py_ssize_t>(i))));
  }
}

void Arguments::set_roles(PyObject* value) {
  if (value == Py_None) return;
  if (PyUnicode_Check(value))
    throw py::type_error("roles: expected a sequence of str, got one str");
  roles_owner_ =
      py::reinterpret_steal<py::object>(PySequence_Fast(value, "expected a sequence of str"));
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
  if (!py::isinstance<IdentityData>(py::handle(value))) {
    throw py::type_error(std::string("identity: expected an Identity, got ") +
                         Py_TYPE(value)->tp_name);
  }
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
    QuotaAsk ask;
    ask.quota = names_.quotas.index(
        name, "quota", [&](std::string_view text) { return names_.catalog->quota_index(text); });
    ask.amount = units(amount, "consume");
    ask.gauge = ask.quota < names_.gauges.size() && names_.gauges[ask.quota];
    any_gauge |= ask.gauge;
    if (!asks.push(ask)) throw py::value_error("consume: at most 16 quotas at once");
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
  request.hints = {hints_.begin(), hints_.size()};
  request.identity_tenants = identity_tenants_;
  if (roles_owner_) request.roles = roles_;
  request.consume = {asks.begin(), asks.size()};
}

}  // namespace tenancy
