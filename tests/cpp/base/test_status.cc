#include <memory>
#include <set>

#include "catch.h"
#include "tenancy/base/status.h"

using tenancy::Code;
using tenancy::Error;
using tenancy::Result;
using tenancy::Status;

TEST_CASE("every code has a name of its own") {
  std::set<std::string_view> names;
  for (int code = 1; code <= static_cast<int>(Code::kConflict); ++code) {
    names.insert(tenancy::code_name(static_cast<Code>(code)));
  }
  CHECK(names.size() == static_cast<size_t>(Code::kConflict));
  CHECK(names.count("UNKNOWN") == 0);
  CHECK(tenancy::code_name(Code::kInvalidArgument) == "INVALID_ARGUMENT");
}

TEST_CASE("a status is ok or carries an error") {
  CHECK(Status().ok());
  const Status failed(Code::kFull, "no room");
  CHECK_FALSE(failed.ok());
  CHECK(failed.error().code == Code::kFull);
  CHECK(failed.error().message == "no room");
}

TEST_CASE("a result holds a value, moves it out, and turns into a status") {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(7);
  REQUIRE(result.ok());
  CHECK(result.status().ok());
  const std::unique_ptr<int> taken = std::move(result).value();
  CHECK(*taken == 7);

  const Result<int> failed = Error{Code::kNotFound, "nothing there"};
  CHECK_FALSE(failed.ok());
  CHECK(failed.status().error().message == "nothing there");
}
