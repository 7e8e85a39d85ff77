// FactFields: the fields of one fact, put together in the order that records want. Internal to the
// engine.
//
// Ownership: borrows what it is given, which must live until the fact is appended. Thread safety:
// one thread.
#pragma once

#include <absl/container/inlined_vector.h>

#include <array>
#include <cstdint>
#include <forward_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/catalog/audit_policy.h"
#include "tenancy/log/record.h"

namespace tenancy {

class FactFields {
 public:
  // Empty texts are left out. What is too long is cut, and what is not UTF-8 is spelled out: a
  // caller must not be able to choose bytes that cannot be recorded. Of a credential that stands
  // where a name should (a key sent as the tenant, say) only what is public is kept.
  void text(log::FieldId id, std::string_view value) { put(id, {}, value); }
  void named(std::string_view name, std::string_view value) {
    put(log::FieldId::kNamed, name, value);
  }
  // What is written in this library, so that there is nothing to look for in it.
  void known(log::FieldId id, std::string_view value) { add_text(id, {}, value); }
  // What a stranger wrote at length: a credential anywhere in it is cut.
  void foreign(log::FieldId id, std::string_view name, std::string_view value);
  void number(log::FieldId id, uint64_t value) {
    add({id, log::Value::unsigned_integer(value), {}});
  }
  // "192.0.2.1", or the eight bytes of an IPv6 network as "2001:db8:0:1::/64".
  void address(std::string_view ip);

  std::span<const log::Field> fields() const { return {fields_.data(), fields_.size()}; }

 private:
  void add(const log::Field& field) { fields_.push_back(field); }
  // Neither empty nor too long, of UTF-8; the name is of this library.
  void add_text(log::FieldId id, std::string_view name, std::string_view value) {
    add({id, log::Value::text(value), name, false, true});
  }
  void put(log::FieldId id, std::string_view name, std::string_view value);

  absl::InlinedVector<log::Field, 20> fields_;  // as many as any fact has
  std::forward_list<std::string> made_;
};

// Marks the fields of a fact that are to be sealed with the key of the person it is about.
class PersonalMarks {
 public:
  // A copy of `fields` that lives as long as this.
  std::span<const log::Field> marked(std::span<const log::Field> fields,
                                     const PersonalFields& personal);

 private:
  std::vector<log::Field> fields_;
};

}  // namespace tenancy
