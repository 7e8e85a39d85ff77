#include "tenancy/base/status.h"

namespace tenancy {

std::string_view code_name(Code code) {
  switch (code) {
    case Code::kInvalidArgument: return "INVALID_ARGUMENT";
    case Code::kNotFound: return "NOT_FOUND";
    case Code::kAlreadyExists: return "ALREADY_EXISTS";
    case Code::kOutOfRange: return "OUT_OF_RANGE";
    case Code::kFull: return "FULL";
    case Code::kDamaged: return "DAMAGED";
    case Code::kForeign: return "FOREIGN";
    case Code::kVersion: return "VERSION";
    case Code::kPermission: return "PERMISSION";
    case Code::kUnsupported: return "UNSUPPORTED";
    case Code::kIo: return "IO";
    case Code::kConflict: return "CONFLICT";
  }
  return "UNKNOWN";
}

}  // namespace tenancy
