#include "tenancy/engine/engine.h"

namespace tenancy {

std::string_view reason_code(Reason reason) {
  switch (reason) {
    case Reason::kAllowed: return "ALLOWED";
    case Reason::kMissingTenant: return "MISSING_TENANT";
    case Reason::kInvalidTenant: return "INVALID_TENANT";
    case Reason::kInvalidCredential: return "INVALID_CREDENTIAL";
    case Reason::kExpiredCredential: return "EXPIRED_CREDENTIAL";
    case Reason::kSuspendedTenant: return "SUSPENDED_TENANT";
    case Reason::kTenantConflict: return "TENANT_CONFLICT";
    case Reason::kPermissionDenied: return "PERMISSION_DENIED";
    case Reason::kFeatureNotInPlan: return "FEATURE_NOT_IN_PLAN";
    case Reason::kMfaRequired: return "MFA_REQUIRED";
    case Reason::kQuotaExceeded: return "QUOTA_EXCEEDED";
    case Reason::kConcurrencyExceeded: return "CONCURRENCY_EXCEEDED";
    case Reason::kRateLimitExceeded: return "RATE_LIMIT_EXCEEDED";
    case Reason::kStateUnavailable: return "STATE_UNAVAILABLE";
    case Reason::kRequestInProgress: return "REQUEST_IN_PROGRESS";
    case Reason::kIdempotencyKeyReused: return "IDEMPOTENCY_KEY_REUSED";
    case Reason::kInvalidIdempotencyKey: return "INVALID_IDEMPOTENCY_KEY";
  }
  return "STATE_UNAVAILABLE";
}

int reason_http_status(Reason reason) {
  switch (reason) {
    case Reason::kAllowed: return 200;
    case Reason::kMissingTenant:
    case Reason::kInvalidTenant:
    case Reason::kInvalidCredential:
    case Reason::kExpiredCredential:
    case Reason::kSuspendedTenant: return 401;
    case Reason::kTenantConflict:
    case Reason::kPermissionDenied:
    case Reason::kFeatureNotInPlan:
    case Reason::kMfaRequired:
    case Reason::kQuotaExceeded:
    case Reason::kConcurrencyExceeded: return 403;
    case Reason::kRateLimitExceeded: return 429;
    case Reason::kStateUnavailable: return 503;
    case Reason::kRequestInProgress: return 409;
    case Reason::kIdempotencyKeyReused: return 422;
    case Reason::kInvalidIdempotencyKey: return 400;
  }
  return 503;
}

}  // namespace tenancy
