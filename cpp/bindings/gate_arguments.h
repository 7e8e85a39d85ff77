// From Python arguments to an engine Request: names resolved against the catalog once, then
// remembered by the identity of the str object that named them; keywords likewise, by the tuple
// that a call site passes.
//
// Ownership: an Arguments belongs to one call and keeps the views of its Request alive; the caches
// belong to the gate. Thread safety: under the interpreter's lock.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "pybind.h"
#include "request_origin.h"
#include "tenancy/engine/engine.h"

namespace tenancy {

struct IdentityData {
  std::string principal;
  std::vector<std::string> tenants;
  std::vector<std::string> scopes;
  bool scoped = false;
  std::optional<std::vector<std::string>> roles;
};

// str object -> catalog index. Callers name things with literals, which are the same object each
// time.
class NameCache {
 public:
  ~NameCache() { clear(); }
  void clear();
  // Never kNoIndex: a name that the catalog does not define raises ValueError.
  template <class Lookup>
  uint32_t index(PyObject* name, const char* what, Lookup&& lookup) {
    Slot& slot = slots_[(reinterpret_cast<uintptr_t>(name) >> 4) % slots_.size()];
    if (slot.name == name) return slot.index;
    const uint32_t index = lookup(utf8_view(name));
    if (index == kNoIndex) raise_unknown(what, name);
    keep(&slot, name, index);
    return index;
  }

 private:
  struct Slot {
    PyObject* name = nullptr;  // strong
    uint32_t index = kNoIndex;
  };
  [[noreturn]] void raise_unknown(const char* what, PyObject* name);
  static void keep(Slot* slot, PyObject* name, uint32_t index);
  std::array<Slot, 64> slots_;
};

struct NameCaches {
  const Catalog* catalog = nullptr;
  NameCache actions;
  NameCache features;
  NameCache quotas;
  std::vector<bool> gauges;  // by quota index
};

enum class Keyword : uint8_t {
  kAction,
  kApiKey,
  kConsume,
  kCost,
  kCredentialExpired,
  kEndpoint,
  kFeature,
  kFingerprint,
  kHints,
  kIdempotencyKey,
  kIdentity,
  kIp,
  kPermission,
  kPrincipal,
  kRequest,
  kRequestId,
  kResource,
  kRoles,
  kSession,
  kTenant,
  kTrustHints,
};
constexpr size_t kKeywords = 21;

// Tuple of keyword names -> what they are. A compiled call passes the same tuple each time.
class KeywordCache {
 public:
  using Keywords = std::array<Keyword, kKeywords>;

  KeywordCache() = default;
  KeywordCache(const KeywordCache&) = delete;
  KeywordCache& operator=(const KeywordCache&) = delete;
  ~KeywordCache() {
    for (Slot& slot : slots_) Py_XDECREF(slot.names);
  }
  // Raises TypeError, in the name of `function`, for a keyword that there is not.
  const Keywords& find(PyObject* names, const char* function) {
    Slot& slot = slots_[(reinterpret_cast<uintptr_t>(names) >> 4) % slots_.size()];
    if (slot.names != names) fill(&slot, names, function);
    return slot.keywords;
  }

 private:
  struct Slot {
    PyObject* names = nullptr;  // strong
    Keywords keywords{};
  };
  static void fill(Slot* slot, PyObject* names, const char* function);
  std::array<Slot, 32> slots_;
};

class Arguments {
 public:
  static constexpr size_t kHintsMax = 8;
  static constexpr size_t kRolesMax = 64;

  explicit Arguments(NameCaches* names) : names_(*names) {}
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;

  void set(Keyword keyword, PyObject* value);
  void finish();  // connects the views
  // The scope or environ that facts tell of; null or None: none.
  void set_origin(PyObject* web_request);
  PyObject* web_request() const { return origin_.web_request(); }

  Request request;
  bool action_named = false;
  bool any_gauge = false;
  FixedVector<QuotaAsk, kQuotasMax> asks;

 private:
  void set_hints(PyObject* value);
  void set_roles(PyObject* value);
  void set_identity(PyObject* value);
  void set_consume(PyObject* value);
  void set_ip(PyObject* value);

  NameCaches& names_;
  WebOrigin origin_;
  FixedVector<std::string_view, kHintsMax> hints_;
  py::object hints_owner_;  // what the caller gave need not be a sequence, or live on
  std::vector<std::string_view> roles_;
  py::object roles_owner_;
  std::vector<std::string_view> identity_tenants_;
  std::array<char, 16> address_;
};

}  // namespace tenancy
