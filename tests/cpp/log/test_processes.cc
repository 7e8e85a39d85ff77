// Processes that share a log: killed, stopped, forked, of another boot.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <random>
#include <set>
#include <thread>

#include "rig.h"
#include "victim.h"

using namespace tenancy;
using namespace tenancy::log;
using namespace tenancy::log::test;

namespace {

Options shared_options(const std::string& directory) {
  Options options = options_in(directory);
  options.background = true;
  options.clock = nullptr;
  options.ack_wait_ns = 120'000'000'000;
  options.full_wait_ns = 120'000'000'000;
  return options;
}

// Appends at mixed levels for ever; each line is a record that was acknowledged.
void append_for_ever(const Options& options, uint64_t name, int to) {
  Result<std::unique_ptr<Log>> log = Log::open(options);
  if (!log) {
    say(to, "open: " + log.error().message + "\n");
    _exit(2);
  }
  for (uint64_t i = 0;; ++i) {
    const std::string text = std::to_string(name) + "." + std::to_string(i);
    const auto chain = static_cast<Class>(i % 2);
    const Field fields[] = {{FieldId::kResourceId, Value::text(text), {}}};
    const Ack ack = i % 7 == 6 ? Ack::kDisk : i % 3 == 2 ? Ack::kOs : Ack::kRing;
    const std::string tenant = "ten_" + std::to_string(i % 5);
    const Result<Position> at = (*log)->append({chain, tenant, fields, 0}, ack);
    if (!at) {
      say(to, "append: " + at.error().message + "\n");
      _exit(2);
    }
    say(to, text + "\n");
  }
}

// A clock whose boot can be another one.
class BootClock final : public Clock {
 public:
  explicit BootClock(std::string boot) : boot_(std::move(boot)) {}
  int64_t mono_ns() const override { return kStartNs; }
  int64_t wall_ns() const override { return kStartNs; }
  std::string boot_id() const override { return boot_; }

 private:
  std::string boot_;
};

}  // namespace

TEST_CASE("a thousand kills of writers and flushers lose nothing that was acknowledged",
          "[exhaustive]") {
  const TempDir directory;
  const Options options = shared_options(directory.path());
  std::mt19937_64 random(4);
  std::set<std::string> acknowledged;
  const auto learn = [&](const std::string& text) {
    size_t at = 0;
    for (size_t end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
      const std::string line = text.substr(at, end - at);
      INFO(line);
      REQUIRE(line.find(':') == std::string::npos);
      acknowledged.insert(line);
    }
  };
  std::vector<std::unique_ptr<Victim>> victims;
  uint64_t name = 0;
  const auto spawn = [&] {
    const uint64_t mine = name++;
    return std::make_unique<Victim>([&, mine](int to) { append_for_ever(options, mine, to); });
  };
  for (int i = 0; i < 3; ++i) victims.push_back(spawn());
  for (int kills = 0; kills < 1000; ++kills) {
    auto& victim = victims[random() % victims.size()];
    victim->wait_for_lines(1 + random() % 12);
    learn(victim->kill_and_read());
    victim = spawn();
  }
  for (auto& victim : victims) learn(victim->kill_and_read());
  CHECK(acknowledged.size() > 1000);
  {
    const auto log = open(options);
    REQUIRE(log->flush().ok());
    CHECK(log->health().leader_changes > 100);
  }
  std::set<std::string> found;
  for (const Class chain : {Class::kSecurity, Class::kAccess}) {
    for (const std::string& text : events_of(directory.path(), chain)) {
      INFO(text);
      REQUIRE(found.insert(text).second);
    }
  }
  size_t missing = 0;
  for (const std::string& text : acknowledged) missing += found.count(text) == 0 ? 1 : 0;
  CHECK(missing == 0);
  const Report report = checked(directory.path());
  INFO(shown(report));
  CHECK(report.findings.size() == 1);
  CHECK(has(report, "unanchored"));
}

TEST_CASE(
    "the records of dead processes are in the ring of the boot, and only there after another one") {
  const TempDir directory;
  Options options = options_in(directory.path());
  options.clock = std::make_shared<BootClock>("boot 1");
  Victim victim([&](int to) {
    const auto log = open(options);
    append(*log, Class::kOther, "ten_1", "durable", Ack::kDisk);
    append(*log, Class::kOther, "ten_1", "in the ring");
    say(to, "done\n");
    pause();
  });
  victim.wait_for_lines(1);
  (void)victim.kill_and_read();
  SECTION("the same boot") {
    const auto log = open(options);
    REQUIRE(log->flush().ok());
    CHECK(events_of(directory.path(), Class::kOther) ==
          std::vector<std::string>{"durable", "in the ring"});
  }
  SECTION("another boot") {
    options.clock = std::make_shared<BootClock>("boot 2");
    const auto log = open(options);
    append(*log, Class::kOther, "ten_1", "new", Ack::kDisk);
    CHECK(events_of(directory.path(), Class::kOther) == std::vector<std::string>{"durable", "new"});
    // While it is in use, processes of another boot (or PID namespace) are refused.
    options.clock = std::make_shared<BootClock>("boot 3");
    const auto refused = Log::open(options);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().code == Code::kConflict);
  }
  const Report report = checked(directory.path());
  INFO(shown(report));
  CHECK(report.findings.size() == 1);
}

TEST_CASE("after fork parent and child go on in one chain, and a private log refuses the child") {
  const TempDir directory;
  const auto log = open(options_in(directory.path()));
  append(*log, Class::kOther, "ten_1", "parent 1");
  {
    Child child([&]() -> std::string {
      const Field fields[] = {{FieldId::kResourceId, Value::text("child"), {}}};
      const auto at = log->append({Class::kOther, "ten_1", fields, 0}, Ack::kRing);
      return at ? std::to_string(at->sequence) : at.error().message;
    });
    CHECK(child.join() == "2");
  }
  append(*log, Class::kOther, "ten_1", "parent 2", Ack::kDisk);
  CHECK(events_of(directory.path(), Class::kOther) ==
        std::vector<std::string>{"parent 1", "child", "parent 2"});
  CHECK(checked(directory.path()).findings.size() == 1);

  const TempDir other;
  Options options = options_in(other.path());
  options.shared = false;
  const auto own = open(options);
  Child child([&]() -> std::string {
    const auto at = own->append({}, Ack::kRing);
    return at ? "appended" : std::string(code_name(at.error().code));
  });
  CHECK(child.join() == "CONFLICT");
  append(*own, Class::kOther, "ten_1", "x", Ack::kDisk);
}

TEST_CASE("a stopped flusher fills the ring, appends fail in time, and go on when it does") {
  const TempDir directory;
  Options options = shared_options(directory.path());
  options.ring_bytes = 64 << 10;
  options.full_wait_ns = 20'000'000;
  Victim leader([&](int to) {
    const auto log = open(options);
    append(*log, Class::kOther, "ten_1", "leader", Ack::kDisk);
    say(to, "leads\n");
    pause();
  });
  leader.wait_for_lines(1);
  REQUIRE(kill(leader.pid(), SIGSTOP) == 0);
  int status = 0;
  REQUIRE(waitpid(leader.pid(), &status, WUNTRACED) == leader.pid());
  {
    Child writer([&]() -> std::string {
      const auto log = open(options);
      size_t appended = 0;
      while (true) {
        const Field fields[] = {{FieldId::kResourceId, Value::text("x"), {}}};
        const auto at = log->append({Class::kOther, "ten_1", fields, 0}, Ack::kRing);
        if (!at) {
          if (at.error().code != Code::kFull) return at.error().message;
          break;
        }
        ++appended;
      }
      if (appended < 100) return "too few";
      kill(leader.pid(), SIGCONT);
      for (int tries = 0; tries < 3000; ++tries) {
        const Field fields[] = {{FieldId::kResourceId, Value::text("after"), {}}};
        if (log->append({Class::kOther, "ten_1", fields, 0}, Ack::kDisk)) return "went on";
      }
      return "did not go on";
    });
    const std::string said = writer.join();
    CHECK(said == "went on");
  }
  (void)leader.kill_and_read();
  const auto log = open(options);
  REQUIRE(log->flush().ok());
  CHECK(checked(directory.path()).findings.size() == 1);
}

TEST_CASE("threads of one process append to one chain without gaps") {
  const TempDir directory;
  const auto log = open(shared_options(directory.path()));
  std::vector<std::thread> threads;
  std::atomic<int> failed{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const std::string tenant = "ten_" + std::to_string(t);
      for (int i = 0; i < 300; ++i) {
        const Field fields[] = {{FieldId::kResourceId, Value::text("x"), {}}};
        const Ack ack = i % 50 == 0 ? Ack::kDisk : Ack::kRing;
        if (!log->append({Class::kOther, tenant, fields, 0}, ack)) ++failed;
        if (i == 150 && t == 0 && !log->rotate()) ++failed;
        if (i == 150 && t == 1 && !log->checkpoint()) ++failed;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(failed == 0);
  REQUIRE(log->flush().ok());
  const Report report =
      checked(directory.path(), {*last_note(Files::system(), log->log_directory())});
  INFO(shown(report));
  CHECK(report.verdict == Verdict::kWhole);
  CHECK(report.chains[2].events == 1200);
}
