// Access control inside the engine: checks over a million users and ten thousand roles, edits,
// memory.
//
// Prints one line per figure. Times are medians over repetitions of a batch; "uniform" takes
// another user each time, so that most of what is touched is in no cache. Runs by itself in about
// ten seconds.
#include <sys/utsname.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tenancy/access/access.h"

namespace {

using tenancy::AccessEditor;
using tenancy::AccessModel;
using tenancy::AccessQuery;
using tenancy::AccessReason;
using tenancy::kForever;
using tenancy::RoleDef;
using tenancy::TenantIndex;

using Model = std::shared_ptr<const AccessModel>;

constexpr uint32_t kUsers = 1'000'000;
constexpr uint32_t kRoles = 10'000;

double now_ns() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<double>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

void report(const char* what, double value, const char* unit) {
  std::printf("%-64s %12.1f %s\n", what, value, unit);
}

// Time of one item of `batch` items in each of several runs, ascending.
template <class Fn>
std::vector<double> time_runs(int runs, size_t batch, Fn&& fn) {
  std::vector<double> times;
  for (int run = 0; run < runs; ++run) {
    const double begin = now_ns();
    fn();
    times.push_back((now_ns() - begin) / static_cast<double>(batch));
  }
  std::ranges::sort(times);
  return times;
}

template <class Fn>
double time_edits_us(int runs, Fn&& fn) {
  const std::vector<double> times = time_runs(runs, 1, fn);
  return times[times.size() / 2] / 1e3;
}

struct Ask {
  TenantIndex tenant;
  std::string principal;
  std::string permission;
};

std::string user(uint32_t i) { return "user-" + std::to_string(i); }
std::string role(uint32_t i) { return "role-" + std::to_string(i); }
std::string permission(uint32_t i) { return "data-" + std::to_string(i / 10) + ":read"; }

// Checks in short batches: `first` moves on through `count` asks. The lower decile of the batches
// is what the work costs when nothing else runs in between.
double time_checks(const Model& model, const std::vector<Ask>& asks, size_t count, size_t batches) {
  constexpr size_t kBatch = 10'000;
  size_t next = 0;
  size_t allowed = 0;
  const auto batch = [&] {
    for (size_t i = 0; i < kBatch; ++i) {
      const Ask& ask = asks[next];
      next = next + 1 == count ? 0 : next + 1;
      AccessQuery query;
      query.tenant = ask.tenant;
      query.principal = ask.principal;
      query.permission = ask.permission;
      query.wall_ns = 1;
      allowed += model->check(query) == AccessReason::kAllowed;
    }
  };
  const std::vector<double> times = time_runs(static_cast<int>(batches), kBatch, batch);
  if (count > 1 && allowed == 0) std::printf("nothing was allowed: the workload is wrong\n");
  return times[times.size() / 10];
}

void bench_checks(const Model& model, const std::string& name, const std::vector<Ask>& asks) {
  const auto line = [&](const char* what, size_t users, size_t batches) {
    report((name + ", " + what).c_str(), time_checks(model, asks, users, batches), "ns/check");
  };
  line("warm: one user", 1, 200);
  line("warm: 64 users", 64, 200);
  line("uniform over 65,536 active users", 65'536, 200);
  line("uniform over all users", asks.size(), 200);
}

// One tenant: every user one of the roles, every role one permission.
Model make_flat() {
  AccessEditor editor(nullptr);
  std::vector<RoleDef> roles;
  for (uint32_t i = 0; i < kRoles; ++i) roles.push_back({role(i), {permission(i)}, {}, {}});
  if (!editor.put_roles(0, roles).ok()) std::abort();
  const double begin = now_ns();
  for (uint32_t i = 0; i < kUsers; ++i) {
    if (!editor.assign(0, user(i), role(i % kRoles), "", kForever).ok()) std::abort();
  }
  Model model = editor.finish();
  report("load 1,000,000 assignments", (now_ns() - begin) / 1e9, "s");
  return model;
}

void bench_flat() {
  const Model model = make_flat();
  const auto stats = model->stats();
  report("flat: memory per assigned user, roles included",
         static_cast<double>(stats.memory_bytes) / kUsers, "bytes");
  std::mt19937_64 random(1);
  std::vector<Ask> asks;
  for (uint32_t i = 0; i < kUsers; ++i) {
    const auto who = static_cast<uint32_t>(random() % kUsers);
    asks.push_back({0, user(who), permission(who % kRoles)});
  }
  bench_checks(model, "flat, 1 tenant, 1 role each", asks);

  uint32_t n = 0;
  Model latest = model;
  const auto edit = [&](auto&& change) {
    AccessEditor editor(latest.get());
    change(editor);
    latest = editor.finish();
    ++n;
  };
  report("flat: edit a role that 100 users hold, published",
         time_edits_us(
             201,
             [&] {
               edit([&](AccessEditor& e) {
                 (void)e.put_role(0, {role(n * 37 % kRoles), {permission(n), "doc:*"}, {}, {}});
               });
             }),
         "us/edit");
  report("flat: assign a second role to a user, published",
         time_edits_us(201,
                       [&] {
                         edit([&](AccessEditor& e) {
                           (void)e.assign(0, user(n * 7919 % kUsers), role(n % kRoles), "",
                                          kForever);
                         });
                       }),
         "us/edit");
  report("flat: unassign, published",
         time_edits_us(201,
                       [&] {
                         edit([&](AccessEditor& e) {
                           const uint32_t who = n * 104'729 % kUsers;
                           (void)e.unassign(0, user(who), role(who % kRoles), "");
                         });
                       }),
         "us/edit");
}

// A thousand tenants: shared roles as in the shipped catalogs, ten roles of their own each that
// inherit, one to three roles a user, one assignment in ten ending some day.
void bench_population() {
  constexpr uint32_t kTenants = 1'000;
  constexpr uint32_t kOwnRoles = kRoles / kTenants;
  std::mt19937_64 random(2);
  AccessEditor editor(nullptr);
  const std::vector<RoleDef> shared{
      {"admin", {"*:*"}, {}, {}},
      {"developer", {"stamp:update", "stamp:delete", "api_key:*"}, {}, {"operator"}},
      {"operator", {"stamp:create"}, {}, {"readonly"}},
      {"readonly", {"stamp:read", "system:read"}, {}, {}},
  };
  if (!editor.set_shared(shared, {}, {}).ok()) std::abort();
  for (TenantIndex tenant = 0; tenant < kTenants; ++tenant) {
    std::vector<RoleDef> roles;
    for (uint32_t i = 0; i < kOwnRoles; ++i) {
      RoleDef def{role(i), {}, {}, {i == 0 ? "readonly" : role((i - 1) / 2)}};
      for (int k = 0; k < 5; ++k) {
        def.permissions.push_back("thing-" + std::to_string(random() % 200) + ":" +
                                  (random() % 8 == 0 ? "*" : "write"));
      }
      if (i % 5 == 4) def.denies.push_back("system:read");
      roles.push_back(def);
    }
    if (!editor.put_roles(tenant, roles).ok()) std::abort();
  }
  std::vector<Ask> asks;
  size_t assignments = 0;
  for (uint32_t i = 0; i < kUsers; ++i) {
    const auto tenant = static_cast<TenantIndex>(i % kTenants);
    for (uint64_t n = 1 + random() % 3; n > 0; --n, ++assignments) {
      const std::string name = random() % 4 == 0 ? shared[random() % 4].name
                                                 : role(static_cast<uint32_t>(random() % 10));
      const int64_t until = random() % 10 == 0 ? 1'000'000 : kForever;
      if (!editor.assign(tenant, user(i), name, "", until).ok()) std::abort();
    }
    asks.push_back(
        {tenant, user(i),
         random() % 2 == 0 ? "stamp:read" : "thing-" + std::to_string(random() % 200) + ":write"});
  }
  const Model model = editor.finish();
  std::ranges::shuffle(asks, random);
  const auto stats = model->stats();
  std::printf("population: %zu tenants, %zu roles, %zu users, %zu assignments\n", stats.tenants,
              stats.roles, stats.principals, assignments);
  report("population: memory per assigned user, roles included",
         static_cast<double>(stats.memory_bytes) / kUsers, "bytes");
  bench_checks(model, "population, 1-3 roles each, inherited", asks);

  uint32_t n = 0;
  Model latest = model;
  report("population: edit a tenant's base role (10 roles below), published",
         time_edits_us(
             201,
             [&] {
               AccessEditor next(latest.get());
               const RoleDef def{
                   role(0), {"thing-" + std::to_string(++n % 200) + ":write"}, {}, {"readonly"}};
               if (!next.put_role(n % kTenants, def).ok()) std::abort();
               latest = next.finish();
             }),
         "us/edit");
  report("population: edit a shared role that 10,000 roles inherit",
         time_edits_us(51,
                       [&] {
                         AccessEditor next(latest.get());
                         std::vector<RoleDef> changed = shared;
                         changed[3].permissions.push_back("stamp:list-" + std::to_string(++n));
                         if (!next.set_shared(changed, {}, {}).ok()) std::abort();
                         latest = next.finish();
                       }),
         "us/edit");
}

// The longest chain and the widest fan that one edit can stand above.
void bench_extremes() {
  for (const bool chain : {true, false}) {
    AccessEditor editor(nullptr);
    std::vector<RoleDef> roles;
    for (uint32_t i = 0; i < kRoles; ++i) {
      RoleDef def{role(i), {permission(i)}, {}, {}};
      if (i > 0) def.inherits.push_back(role(chain ? i - 1 : 0));
      roles.push_back(def);
    }
    if (!editor.put_roles(0, roles).ok()) std::abort();
    if (!editor.assign(0, "ann", role(kRoles - 1), "", kForever).ok()) std::abort();
    Model model = editor.finish();
    uint32_t n = 0;
    report(chain ? "extreme: edit the root of a chain of 10,000 roles"
                 : "extreme: edit a role with 10,000 children",
           time_edits_us(51,
                         [&] {
                           AccessEditor next(model.get());
                           (void)next.put_role(0, {role(0), {permission(10 * ++n)}, {}, {}});
                           model = next.finish();
                         }),
           "us/edit");
    const std::vector<Ask> asks{{0, "ann", permission(0)}, {0, "ann", permission(10 * n)}};
    const double begin = now_ns();
    (void)model->check({0, "ann", permission(10 * n), "", tenancy::kNoScopes, 1, {}});
    report("extreme: the first check of a role below, after that edit", (now_ns() - begin) / 1e3,
           "us/check");
    report("extreme: a check of it from then on", time_checks(model, asks, 2, 100), "ns/check");
    report(chain ? "extreme: memory, chain of 10,000" : "extreme: memory, fan of 10,000",
           static_cast<double>(model->stats().memory_bytes) / 1e6, "MB");
  }
}

}  // namespace

int main() {
  utsname machine{};
  uname(&machine);
  std::printf("access control, %s %s\n", machine.sysname, machine.machine);
  bench_flat();
  bench_population();
  bench_extremes();
  return 0;
}
