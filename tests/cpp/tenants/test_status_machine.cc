#include <array>
#include <set>
#include <string>
#include <utility>

#include "catch.h"
#include "tenancy/tenants/registry.h"

namespace tenancy {
namespace {

using S = TenantStatus;

TEST_CASE("the status machine allows exactly the transitions of the design") {
  const std::set<std::pair<S, S>> legal{
      {S::kPending, S::kTrial},     {S::kPending, S::kActive},   {S::kPending, S::kDeleted},
      {S::kTrial, S::kActive},      {S::kTrial, S::kSuspended},  {S::kTrial, S::kChurned},
      {S::kTrial, S::kDeleted},     {S::kActive, S::kSuspended}, {S::kActive, S::kChurned},
      {S::kActive, S::kDeleted},    {S::kSuspended, S::kActive}, {S::kSuspended, S::kChurned},
      {S::kSuspended, S::kDeleted}, {S::kChurned, S::kActive},   {S::kChurned, S::kDeleted},
      {S::kDeleted, S::kSuspended}, {S::kDeleted, S::kPurged},
  };
  for (size_t from = 0; from < kTenantStatuses; ++from) {
    for (size_t to = 0; to < kTenantStatuses; ++to) {
      const auto a = static_cast<S>(from);
      const auto b = static_cast<S>(to);
      INFO(status_name(a) << " -> " << status_name(b));
      CHECK(status_may_become(a, b) == (legal.count({a, b}) == 1));
    }
  }
}

TEST_CASE("active and trial tenants are served, no others") {
  for (size_t i = 0; i < kTenantStatuses; ++i) {
    const auto status = static_cast<S>(i);
    CHECK(status_served(status) == (status == S::kActive || status == S::kTrial));
  }
}

TEST_CASE("status names are read back, and others are refused") {
  for (size_t i = 0; i < kTenantStatuses; ++i) {
    const auto status = static_cast<S>(i);
    const Result<S> read = status_from_name(status_name(status));
    REQUIRE(read.ok());
    CHECK(*read == status);
  }
  for (const char* name : {"", "Active", "active ", "gone"}) {
    const Result<S> read = status_from_name(name);
    REQUIRE_FALSE(read.ok());
    CHECK(read.error().message.find("expected pending, trial") != std::string::npos);
  }
}

}  // namespace
}  // namespace tenancy
