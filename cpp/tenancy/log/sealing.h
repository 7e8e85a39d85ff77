// Sealing: personal fields encrypted with the key of their subject. Internal. (LOG_FORMAT.md, 3.2)
//
// Thread safety: one thread at a time.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/base/status.h"
#include "tenancy/log/record.h"
#include "tenancy/log/subject_keys.h"

namespace tenancy::log {

// Seals the fields of one entry; what it gives lives until it is asked again.
class Sealer {
 public:
  // `fields` with those that are personal sealed; a null stays, it says nothing.
  std::span<const Field> seal(const SubjectSlot& key, const LogId& log_id,
                              std::span<const Field> fields);

 private:
  std::vector<Field> fields_;
  std::vector<std::string> sealed_;
};

// Whether any of them is to be sealed.
bool any_personal(std::span<const Field> fields);

// The id of the key under which a value of type kSealed is sealed.
SubjectKeyId sealed_under(const Value& value);

// Opens sealed values with the keys of a directory.
class Opener {
 public:
  Opener(Files& files, std::string keys) : keys_(files, std::move(keys)) {}
  // The field as it was, its value in `*plain`; false when its key is erased or not there.
  // kDamaged when the key does not fit; other errors as of SubjectKeys.
  Result<bool> open(Field* field, std::string* plain);

 private:
  SubjectKeys keys_;
};

}  // namespace tenancy::log
