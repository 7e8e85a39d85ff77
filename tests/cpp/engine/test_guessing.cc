// Guessing of credentials is bounded per address; whoever does not guess does not notice.
#include "fixture.h"

namespace tenancy::testing {
namespace {

Engine::Options three_a_minute() {
  Engine::Options options;
  options.failed_credentials = *LimitPolicy::parse("3/minute");
  return options;
}

Request wrong(const char* ip) {
  Request request;
  request.api_key = "tk_wrong";
  request.ip = ip;
  return request;
}

// The catalog of the fixture has a limit of 5 for each address, so more attempts come from outside
// of its window.
TEST_CASE("after its wrong credentials an address is not listened to, right ones included") {
  TestEngine t(three_a_minute());
  for (int i = 0; i < 3; ++i) {
    CHECK(t.check(wrong("192.0.2.1")).reason == Reason::kInvalidCredential);
  }
  const Decision refused = t.check(wrong("192.0.2.1"));
  CHECK(refused.reason == Reason::kRateLimitExceeded);
  CHECK(refused.detail == "failed_credentials");
  CHECK(refused.retry_after_ns > 0);
  CHECK(refused.retry_after_ns <= 60 * kSecond);
  Request right = t.request(t.acme);
  right.ip = "192.0.2.1";
  CHECK(t.check(right).detail == "failed_credentials");
  right.ip = "192.0.2.2";
  CHECK(t.check(right).allowed());
  right.ip = {};
  CHECK(t.check(right).allowed());
}

TEST_CASE("what is refused is not counted, so the address comes back when the window has passed") {
  TestEngine t(three_a_minute());
  for (int i = 0; i < 5; ++i) t.check(wrong("192.0.2.1"));
  t.clock->advance(61 * kSecond);
  for (int i = 0; i < 3; ++i) {
    CHECK(t.check(wrong("192.0.2.1")).reason == Reason::kInvalidCredential);
  }
  CHECK(t.check(wrong("192.0.2.1")).detail == "failed_credentials");
}

TEST_CASE("only wrong credentials count: not missing ones, not right ones, not explanations") {
  TestEngine t(three_a_minute());
  for (int round = 0; round < 4; ++round) {
    Request none;
    none.ip = "192.0.2.1";
    CHECK(t.check(none).reason == Reason::kMissingTenant);
    Request right = t.request(t.bob);
    right.ip = "192.0.2.1";
    CHECK(t.check(right).allowed());
    Request over = wrong("192.0.2.1");
    over.credential_expired = true;
    CHECK(t.check(over).reason == Reason::kExpiredCredential);
    Request asked = wrong("192.0.2.1");
    asked.dry_run = true;
    CHECK(t.check(asked).reason == Reason::kInvalidCredential);
    t.clock->advance(61 * kSecond);
  }
  CHECK(t.check(wrong("192.0.2.1")).reason == Reason::kInvalidCredential);
}

TEST_CASE("while one address is refused, others are looked at one by one and pass") {
  TestEngine t(three_a_minute());
  for (int i = 0; i < 4; ++i) t.check(wrong("192.0.2.1"));
  CHECK(t.check(wrong("192.0.2.3")).reason == Reason::kInvalidCredential);
  Request right = t.request(t.acme);
  right.ip = "192.0.2.3";
  CHECK(t.check(right).allowed());
}

TEST_CASE("explaining a request of a refused address says so") {
  TestEngine t(three_a_minute());
  for (int i = 0; i < 3; ++i) t.check(wrong("192.0.2.1"));
  Request asked = wrong("192.0.2.1");
  asked.dry_run = true;
  CHECK(t.check(asked).reason == Reason::kRateLimitExceeded);
}

TEST_CASE("a full region of addresses lets credentials be judged as before") {
  Engine::Options options = three_a_minute();
  options.counters.anonymous_bytes = size_t{64} << 10;
  TestEngine t(options);
  int invalid = 0;
  std::vector<std::string> addresses;
  for (int i = 0; i < 3000; ++i) addresses.push_back("a" + std::to_string(i));
  for (const std::string& address : addresses) {
    Request request = wrong(address.c_str());
    invalid += t.check(request).reason == Reason::kInvalidCredential ? 1 : 0;
  }
  CHECK(invalid > 0);
  Request right = t.request(t.acme);
  CHECK(t.check(right).allowed());
}

TEST_CASE("without the bound nothing is counted") {
  TestEngine t;
  for (int i = 0; i < 5; ++i) {
    CHECK(t.check(wrong("192.0.2.1")).reason == Reason::kInvalidCredential);
  }
  CHECK(t.check(wrong("192.0.2.1")).detail == "per_address");
}

}  // namespace
}  // namespace tenancy::testing
