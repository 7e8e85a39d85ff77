#include "plain_fact.h"

#include <algorithm>

#include "canonical_json.h"
#include "tenancy/log/event_id.h"

namespace tenancy {
namespace {

using log::FieldId;

constexpr size_t kMemberMax = 512;
constexpr size_t kMembersMax = 16;
constexpr size_t kContextBytes = 240;  // of most contexts
// Members that have fields of their own, from kIp on; texts of them are in the context as well.
constexpr std::array<std::string_view, 4> kOwnMembers = {"ip", "user_agent", "request_id",
                                                         "session_id"};

struct Member {
  std::string_view name;
  PyObject* value;
};

void write_plain(std::string_view text, std::string* out) {
  bool escapes = false;
  for (const char c : text) escapes |= c == '"' || c == '\\';
  if (escapes) return json_text(text, out);
  out->push_back('"');
  out->append(text);
  out->push_back('"');
}

bool write_member(PyObject* value, std::string* out) {
  std::string_view text;
  if (read_plain(value, kMemberMax, &text)) {
    write_plain(text, out);
    return true;
  }
  if (value == Py_None || PyBool_Check(value)) {
    out->append(value == Py_None ? "null" : value == Py_True ? "true" : "false");
    return true;
  }
  if (!PyLong_CheckExact(value)) return false;
  int overflow = 0;
  const long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
  constexpr long long kExactMax = 1LL << 53;  // beyond it json_integer writes texts
  if (overflow != 0 || number < -kExactMax || number > kExactMax) return false;
  json_integer(number, out);
  return true;
}

}  // namespace

bool read_plain(PyObject* value, size_t most, std::string_view* out) {
  if (!PyUnicode_CheckExact(value) || PyUnicode_IS_COMPACT_ASCII(value) == 0) return false;
  const std::string_view text(reinterpret_cast<const char*>(PyUnicode_1BYTE_DATA(value)),
                              static_cast<size_t>(PyUnicode_GET_LENGTH(value)));
  if (text.size() > most) return false;
  bool printable = true;
  bool readable = false;
  for (const char c : text) {
    printable &= c >= ' ' && c <= '~';
    readable |= c != ' ';
  }
  *out = text;
  return printable && readable;
}

void PlainFact::add(FieldId id, log::Value value) {
  fields_[count_].id = id;
  fields_[count_].value = value;
  fields_[count_].is_utf8 = true;
  ++count_;
}

// The context as JSON, and its members that have fields of their own, ascending.
bool PlainFact::add_context(PyObject* context) {
  if (!PyDict_CheckExact(context)) return false;
  std::array<Member, kMembersMax> members;
  size_t count = 0;
  PyObject* name = nullptr;
  PyObject* value = nullptr;
  for (Py_ssize_t at = 0; PyDict_Next(context, &at, &name, &value) != 0; ++count) {
    if (count == members.size() || !read_plain(name, kPlainTextMax, &members[count].name))
      return false;
    members[count].value = value;
  }
  if (count == 0) return true;
  context_.reserve(kContextBytes);
  const auto end = members.begin() + static_cast<std::ptrdiff_t>(count);
  std::sort(members.begin(), end, [](const Member& a, const Member& b) { return a.name < b.name; });
  for (auto member = members.begin(); member != end; ++member) {
    context_.push_back(member == members.begin() ? '{' : ',');
    write_plain(member->name, &context_);
    context_.push_back(':');
    if (!write_member(member->value, &context_)) return false;
  }
  context_.push_back('}');
  for (size_t i = 0; i < kOwnMembers.size(); ++i) {
    const auto own = std::find_if(members.begin(), end,
                                  [&](const Member& m) { return m.name == kOwnMembers[i]; });
    std::string_view text;
    if (own != end && read_plain(own->value, kMemberMax, &text)) {
      add_text(static_cast<FieldId>(static_cast<size_t>(FieldId::kIp) + i), text);
    }
  }
  return true;
}

// A text that need not be given.
bool PlainFact::add_optional(FieldId id, PyObject* value) {
  if (value == nullptr) return true;
  std::string_view text;
  if (!read_plain(value, kPlainTextMax, &text)) return false;
  add_text(id, text);
  return true;
}

bool PlainFact::add_result(PyObject* value) {
  std::string_view text = "success";
  if (value != nullptr && !read_plain(value, kPlainTextMax, &text)) return false;
  add_text(FieldId::kResult, text);
  return text == "success" || text == "failure" || text == "denied";
}

bool PlainFact::fill(const FactArguments& given, std::string_view type, uint64_t revision,
                     int64_t time_ns) {
  event_id_ = log::new_event_id(time_ns);
  add(FieldId::kEventId, log::Value::uuid(id_bytes()));
  add_text(FieldId::kType, type);
  if (given[kAction] == nullptr) add_text(FieldId::kAction, type);
  const bool taken = add_optional(FieldId::kAction, given[kAction]) &&
                     add_optional(FieldId::kResource, given[kResource]) &&
                     add_optional(FieldId::kResourceId, given[kResourceId]) &&
                     given[kPrincipal] != nullptr &&  // else whom the caller's context names
                     add_optional(FieldId::kPrincipal, given[kPrincipal]) &&
                     add_result(given[kResult]) &&
                     (given[kContext] == nullptr || add_context(given[kContext]));
  if (!taken) return false;
  add(FieldId::kPolicyRevision, log::Value::unsigned_integer(revision));
  if (!context_.empty()) {
    fields_[count_].name = "context";
    add_text(FieldId::kNamed, context_);
  }
  return true;
}

}  // namespace tenancy
