// Idempotency keys through decisions: what a caller consumes under one is charged once.
#include "fixture.h"

namespace tenancy::testing {
namespace {

struct Asking {
  explicit Asking(TestEngine& engine, const TestKey& key, uint64_t tokens = 5)
      : t(engine), asks{{t.quota("tokens"), tokens, false, 0}}, request(t.request(key)) {
    request.consume = asks;
    request.has_idempotency_key = true;
    request.idempotency_key = "k-1";
    request.fingerprint = "POST /agents";
  }
  Decision now() {
    Decision decision;
    t.engine->check(t.engine->definitions(), request, &decision);
    return decision;
  }
  Decision begin() {
    request.reserve = true;
    return now();
  }
  TestEngine& t;
  std::vector<QuotaAsk> asks;
  Request request;
};

uint64_t used(TestEngine& t, const char* tenant, const char* quota) {
  const auto definitions = t.engine->definitions();
  const TenantEntry* entry = definitions->registry->by_reference(tenant);
  const QuotaState state =
      t.engine->quotas().status(Engine::quota_target(*definitions, *entry, t.quota(quota)));
  return state.used + state.reserved;
}

TEST_CASE("check with a key is charged once, and says which answers are repeats") {
  TestEngine t;
  Asking ask(t, t.bob);
  Decision first = ask.now();
  REQUIRE(first.allowed());
  CHECK_FALSE(first.repeated);
  CHECK(first.quotas[0].state.used == 5);
  for (int i = 0; i < 5; ++i) {
    const Decision again = ask.now();
    REQUIRE(again.allowed());
    CHECK(again.repeated);
  }
  CHECK(used(t, "ten_bob", "tokens") == 5);
  CHECK(ask.now().reason == Reason::kIdempotencyKeyReused);  // five repeats are the bound
  CHECK(used(t, "ten_bob", "tokens") == 5);
}

TEST_CASE("a key stands for one request, one amount, one caller, one tenant") {
  TestEngine t;
  Asking ask(t, t.bob);
  REQUIRE(ask.now().allowed());
  SECTION("another path") {
    ask.request.fingerprint = "POST /others";
    CHECK(ask.now().reason == Reason::kIdempotencyKeyReused);
    CHECK(used(t, "ten_bob", "tokens") == 5);
  }
  SECTION("a larger amount is not paid by a smaller one") {
    ask.asks[0].amount = 50;
    CHECK(ask.now().reason == Reason::kIdempotencyKeyReused);
  }
  SECTION("another tenant's key of the same text is another key") {
    Asking other(t, t.acme);
    CHECK_FALSE(other.now().repeated);
    CHECK(used(t, "ten_acme", "tokens") == 5);
  }
  SECTION("another caller of the tenant as well") {
    Asking other(t, t.bob);
    other.request.api_key = {};
    other.request.tenant = "ten_bob";
    other.request.principal = "ann";
    CHECK_FALSE(other.now().repeated);
    CHECK(used(t, "ten_bob", "tokens") == 10);
  }
}

TEST_CASE("a web request is charged when it ends well, and not when it fails") {
  TestEngine t;
  Asking ask(t, t.bob);
  Decision failed = ask.begin();
  REQUIRE(failed.allowed());
  Decision meanwhile = ask.begin();
  CHECK(meanwhile.reason == Reason::kRequestInProgress);
  CHECK(meanwhile.retry_after_ns > 0);
  t.engine->finish(&meanwhile, 409);
  t.engine->finish(&failed, 500);
  CHECK(used(t, "ten_bob", "tokens") == 0);
  Decision retried = ask.begin();
  REQUIRE(retried.allowed());
  CHECK_FALSE(retried.repeated);
  t.engine->finish(&retried, 200);
  Decision repeat = ask.begin();
  CHECK(repeat.repeated);
  t.engine->finish(&repeat, 500);  // a repeat that fails gives nothing back
  CHECK(used(t, "ten_bob", "tokens") == 5);
}

TEST_CASE("a request that outlives its reservation is charged once, by whoever took over") {
  TestEngine t;
  Asking ask(t, t.bob);
  Decision slow = ask.begin();
  t.clock->advance(61 * kSecond);
  Decision quick = ask.begin();
  REQUIRE(quick.allowed());
  CHECK_FALSE(quick.repeated);
  t.engine->finish(&slow, 200);
  t.engine->finish(&quick, 200);
  CHECK(used(t, "ten_bob", "tokens") == 5);
  CHECK(ask.begin().repeated);
}

TEST_CASE("several quotas are charged all or none, and several times the same one") {
  TestEngine t;
  Asking ask(t, t.acme);
  ask.asks = {{t.quota("tokens"), 5, false, 0}, {t.quota("projects"), 3, false, 0}};
  ask.request.consume = ask.asks;
  CHECK(ask.now().reason == Reason::kQuotaExceeded);  // two projects are the plan's
  CHECK(used(t, "ten_acme", "tokens") == 0);
  ask.asks = {{t.quota("tokens"), 5, false, 0},
              {t.quota("tokens"), 5, false, 0},
              {t.quota("projects"), 1, false, 0}};
  ask.request.consume = ask.asks;
  CHECK_FALSE(ask.now().repeated);
  CHECK(ask.now().repeated);
  CHECK(used(t, "ten_acme", "tokens") == 10);
  CHECK(used(t, "ten_acme", "projects") == 1);
}

TEST_CASE("rate limits count every attempt, and what runs at once is leased by every one") {
  TestEngine t;
  Asking ask(t, t.acme);
  ask.asks = {{t.quota("agents"), 1, false, 0}, {t.quota("tokens"), 5, false, 0}};
  ask.request.consume = ask.asks;
  REQUIRE(ask.now().allowed());
  Decision again = ask.now();
  REQUIRE(again.repeated);
  CHECK(again.quotas[0].lease);
  CHECK(used(t, "ten_acme", "agents") == 2);
  CHECK(ask.now().reason == Reason::kConcurrencyExceeded);
  for (const LimitEntry& entry : again.limits) {
    if (entry.rule->name == "api_requests") CHECK(entry.state.remaining == 8);
  }
}

TEST_CASE("what cannot be a key refuses what consumes, and nothing else") {
  TestEngine t;
  Asking ask(t, t.bob);
  for (const std::string& bad : {std::string(), std::string(256, 'k'), std::string("a\nb"),
                                 std::string("\xff"), std::string("a\0b", 3)}) {
    ask.request.idempotency_key = bad;
    CHECK(ask.now().reason == Reason::kInvalidIdempotencyKey);
  }
  CHECK(used(t, "ten_bob", "tokens") == 0);
  const Request idle = [&] {
    Request out = t.request(t.bob);
    out.has_idempotency_key = true;
    return out;
  }();
  CHECK(t.check(idle).allowed());
}

TEST_CASE("how many keys a tenant may add is bounded; repeats and other tenants are not touched") {
  Engine::Options options;
  options.idempotency_keys_max = 3;
  TestEngine t(options);
  Asking ask(t, t.bob, 1);
  for (const char* key : {"a", "b", "c"}) {
    ask.request.idempotency_key = key;
    REQUIRE(ask.now().allowed());
  }
  ask.request.idempotency_key = "d";
  const Decision refused = ask.now();
  CHECK(refused.reason == Reason::kRateLimitExceeded);
  CHECK(refused.detail == "idempotency_keys");
  CHECK(refused.retry_after_ns > 0);
  CHECK(used(t, "ten_bob", "tokens") == 3);
  ask.request.idempotency_key = "a";
  CHECK(ask.now().repeated);
  CHECK(Asking(t, t.acme).now().allowed());
  ask.request.has_idempotency_key = false;
  CHECK(ask.now().allowed());
}

TEST_CASE("explaining a request with a key takes nothing and claims nothing") {
  TestEngine t;
  Asking ask(t, t.bob);
  ask.request.dry_run = true;
  for (int i = 0; i < 3; ++i) CHECK(ask.now().allowed());
  ask.request.dry_run = false;
  CHECK_FALSE(ask.now().repeated);
}

}  // namespace
}  // namespace tenancy::testing
