// Readers on their snapshots while one thread makes the next ones. Clean under the thread
// sanitizer.
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tenants/rows.h"

namespace tenancy {
namespace {

using test::key_row;
using test::kHashKey;
using test::tenant_row;

constexpr int kTenants = 300;

TEST_CASE("readers see whole snapshots while the next ones are made") {
  auto first = test::fresh_editor();
  for (int i = 0; i < kTenants; ++i) {
    const std::string n = std::to_string(i);
    REQUIRE(first->put_tenant(tenant_row("t" + n, "s0-" + n)).ok());
    REQUIRE(first->put_key(key_row("k" + n, "t" + n), 0).ok());
  }
  std::mutex mutex;
  std::shared_ptr<const Registry> newest = first->finish();
  const auto load = [&] {
    std::lock_guard<std::mutex> lock(mutex);
    return newest;
  };

  std::atomic<bool> done{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> readers;
  for (int r = 0; r < 3; ++r) {
    readers.emplace_back([&] {
      while (!done) {
        const auto snapshot = load();
        // All slugs of one snapshot are of one generation.
        const std::string slug = snapshot->by_id("t0")->slug;
        const std::string prefix = slug.substr(0, slug.find('-') + 1);
        for (int i = 0; i < kTenants; i += 7) {
          const std::string n = std::to_string(i);
          const TenantEntry* tenant = snapshot->by_slug(prefix + n);
          const KeyEntry* key = snapshot->key_by_id("k" + n);
          if (tenant == nullptr || key == nullptr || key->tenant != tenant->index) ++wrong;
        }
      }
    });
  }
  for (int generation = 1; generation <= 30; ++generation) {
    const auto base = load();
    RegistryEditor editor(base.get(), kHashKey);
    const std::string prefix = "s" + std::to_string(generation) + "-";
    for (int i = 0; i < kTenants; ++i) {
      const std::string n = std::to_string(i);
      REQUIRE(editor.put_tenant(tenant_row("t" + n, prefix + n)).ok());
    }
    auto next = editor.finish();
    std::lock_guard<std::mutex> lock(mutex);
    newest = std::move(next);
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  CHECK(wrong == 0);
}

}  // namespace
}  // namespace tenancy
