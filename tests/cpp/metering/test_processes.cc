// Processes that record usage side by side: each id once, whoever is killed when.
#include <signal.h>

#include <array>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "catch.h"
#include "rig.h"
#include "tenancy/metering/batch.h"

using namespace tenancy;
using namespace tenancy::metering;
using namespace tenancy::metering::test;
using tenancy::test::Child;

namespace {

// A log whose process dies beside a record.
class DyingLog final : public log::Log {
 public:
  enum class When : uint8_t { kBefore, kAfter, kStops };  // the last one only stops
  DyingLog(std::shared_ptr<log::Log> log, When when, int records)
      : log_(std::move(log)), when_(when), records_(records) {}

  Result<log::Position> append(const log::Entry& entry, log::Ack ack) override {
    const bool dies = --records_ < 0;
    if (dies && when_ == When::kBefore) kill(getpid(), SIGKILL);
    if (dies && when_ == When::kStops) kill(getpid(), SIGSTOP);
    Result<log::Position> at = log_->append(entry, ack);
    if (dies && when_ == When::kAfter) kill(getpid(), SIGKILL);
    return at;
  }
  Result<log::Ticket> submit(const log::Entry& entry) override { return log_->submit(entry); }
  bool reached(const log::Ticket& ticket, log::Ack ack) const override {
    return log_->reached(ticket, ack);
  }
  Status wait(const log::Ticket& ticket, log::Ack ack, std::optional<int64_t> wait_ns) override {
    return log_->wait(ticket, ack, wait_ns);
  }
  Result<log::Position> append_all(std::span<const log::Entry> entries, log::Ack ack) override {
    return log_->append_all(entries, ack);
  }
  Status flush(log::Ack ack, std::optional<int64_t> wait_ns) override {
    return log_->flush(ack, wait_ns);
  }
  Status rotate() override { return log_->rotate(); }
  Result<std::string> checkpoint() override { return log_->checkpoint(); }
  Result<log::PruneResult> prune(log::Class chain, uint64_t before) override {
    return log_->prune(chain, before);
  }
  Status tend() override { return log_->tend(); }
  Result<log::Erasure> erase(std::optional<std::string_view> tenant, std::string_view subject,
                             std::string_view by, std::string_view reason) override {
    return log_->erase(tenant, subject, by, reason);
  }
  Result<std::array<uint8_t, 16>> subject_key(std::optional<std::string_view> tenant,
                                              std::string_view subject) override {
    return log_->subject_key(tenant, subject);
  }
  Status finish_erasure() override { return log_->finish_erasure(); }
  uint64_t position(log::Class chain) const override { return log_->position(chain); }
  log::Health health() const override { return log_->health(); }
  const log::LogId& id() const override { return log_->id(); }
  std::string public_key() const override { return log_->public_key(); }
  const std::string& log_directory() const override { return log_->log_directory(); }
  Status close() override { return log_->close(); }

 private:
  std::shared_ptr<log::Log> log_;
  const When when_;
  int records_;
};

// As programs open it: a thread flushes, and time passes.
void as_programs_do(Host& host) {
  host.log_options.background = true;
  host.log_options.ring_bytes = 1 << 20;
  host.log_options.clock = nullptr;
  host.options.clock = nullptr;
  host.log_options.ack_wait_ns = 120'000'000'000;
  host.log_options.full_wait_ns = 120'000'000'000;
  host.options.wait_ns = 120'000'000'000;
}

std::map<std::string, int> times_in_log(const Host& host) {
  std::map<std::string, int> times;
  for (const std::string& text : host.events()) ++times[text];
  return times;
}

size_t repeated(const std::map<std::string, int>& times) {
  size_t count = 0;
  for (const auto& [text, number] : times) count += number > 1 ? 1 : 0;
  return count;
}

}  // namespace

TEST_CASE("a death beside a record makes no event count twice or get lost") {
  const TempDir directory;
  Host host(directory.path());
  const auto when = GENERATE(DyingLog::When::kBefore, DyingLog::When::kAfter);
  // The victim's batch takes several records: 2,500 events of one tenant.
  const int records = GENERATE(0, 1, 2);
  Victim victim([&](int to) {
    host.open();
    (void)host.record(numbered(0, 10));
    host.usage = host.open_usage(std::make_shared<DyingLog>(host.log, when, records));
    say(to, "recording\n");
    (void)host.record(numbered(10, 2'500), log::Ack::kRing);
    say(to, "survived\n");
  });
  victim.wait_for_lines(1);
  while (kill(victim.pid(), 0) == 0 && waitpid(victim.pid(), nullptr, WNOHANG) == 0) {
    std::this_thread::yield();
  }
  CHECK(victim.kill_and_read() == "recording\n");
  host.open();
  const int whole = records + (when == DyingLog::When::kAfter ? 1 : 0);
  const size_t there = std::min<size_t>(2'500, static_cast<size_t>(whole) * kBatchEventsMax);
  CHECK(count_of(host.record(numbered(0, 2'510)), EventStatus::kDuplicate) == 10 + there);
  const auto times = times_in_log(host);
  CHECK(times.size() == 2'510);
  CHECK(repeated(times) == 0);
}

TEST_CASE("processes that send the same ids record each of them once") {
  const TempDir directory;
  Host host(directory.path());
  as_programs_do(host);
  constexpr int kProcesses = 4;
  constexpr int kIds = 3'000;
  std::vector<std::unique_ptr<Child>> children;
  for (int process = 0; process < kProcesses; ++process) {
    children.push_back(std::make_unique<Child>([&host, process] {
      host.open();
      std::mt19937_64 random(static_cast<uint64_t>(process));
      std::vector<Event> all = numbered(0, kIds);
      for (size_t i = 0; i < all.size(); ++i) all[i].tenant = "t" + std::to_string(i % 3);
      std::shuffle(all.begin(), all.end(), random);
      size_t recorded = 0;
      for (size_t begin = 0; begin < all.size();) {
        const size_t count = std::min<size_t>(1 + random() % 50, all.size() - begin);
        const auto from = all.begin() + static_cast<ptrdiff_t>(begin);
        const std::vector<Event> part(from, from + static_cast<ptrdiff_t>(count));
        recorded += count_of(host.record(part, log::Ack::kRing), EventStatus::kRecorded);
        begin += count;
      }
      host.close();
      return std::to_string(recorded);
    }));
  }
  int recorded = 0;
  for (const auto& child : children) recorded += std::stoi(child->join());
  CHECK(recorded == kIds);
  host.open();
  const auto times = times_in_log(host);
  CHECK(times.size() == kIds);
  CHECK(repeated(times) == 0);
}

TEST_CASE("many kills lose nothing that was acknowledged, and nothing counts twice") {
  const TempDir directory;
  Host host(directory.path());
  as_programs_do(host);
  constexpr uint64_t kIds = 20'000;
  const auto work = [&host](uint64_t seed, int to) {
    host.open();
    std::mt19937_64 random(seed);
    while (true) {
      std::vector<Event> events;
      for (size_t i = 0; i < 1 + random() % 30; ++i) {
        const std::string id = std::to_string(random() % kIds);
        events.push_back({.tenant = "t" + std::to_string(id.size()), .id = id});
      }
      (void)host.record(events, random() % 2 == 0 ? log::Ack::kRing : log::Ack::kOs);
      std::string said;
      for (const Event& event : events) said += event.id + "\n";
      say(to, said);
    }
  };
  std::mt19937_64 random(5);
  std::set<std::string> acknowledged;
  const auto learn = [&](const std::string& text) {
    for (size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
      acknowledged.insert(text.substr(at, end - at));
    }
  };
  std::vector<std::unique_ptr<Victim>> victims;
  uint64_t seed = 0;
  const auto spawn = [&] {
    const uint64_t mine = ++seed;
    return std::make_unique<Victim>([&, mine](int to) { work(mine, to); });
  };
  for (int i = 0; i < 3; ++i) victims.push_back(spawn());
  for (int kills = 0; kills < 150; ++kills) {
    auto& victim = victims[random() % victims.size()];
    victim->wait_for_lines(1 + random() % 200);
    learn(victim->kill_and_read());
    victim = spawn();
  }
  for (auto& victim : victims) learn(victim->kill_and_read());
  CHECK(acknowledged.size() > 1'000);
  host.open();
  REQUIRE(host.log->flush().ok());
  const auto times = times_in_log(host);
  CHECK(repeated(times) == 0);
  size_t missing = 0;
  for (const std::string& id : acknowledged) {
    missing += times.count("t" + std::to_string(id.size()) + "//" + id + "=1") == 0 ? 1 : 0;
  }
  CHECK(missing == 0);
  // The index says the same as the log.
  std::vector<Event> all;
  for (uint64_t i = 0; i < kIds; ++i) {
    const std::string id = std::to_string(i);
    all.push_back({.tenant = "t" + std::to_string(id.size()), .id = id});
  }
  CHECK(count_of(host.record(all), EventStatus::kDuplicate) == times.size());
  host.close();
  const log::Report report = log::test::checked(directory.path());
  INFO(log::test::shown(report));
  CHECK(report.findings.size() == 1);
  CHECK(has(report, "unanchored"));
}

// The thread sanitizer ends a child of a process with threads that starts one, as a log does.
#ifndef __SANITIZE_THREAD__
TEST_CASE("a forked child goes on with its parent's, and either may end first") {
  const TempDir directory;
  Host host(directory.path());
  as_programs_do(host);
  host.open();
  (void)host.record(numbered(0, 100));
  Child child([&] {
    const size_t again = count_of(host.record(numbered(0, 3'000)), EventStatus::kDuplicate);
    host.close();
    return std::to_string(again);
  });
  CHECK(child.join() == "100");
  CHECK(count_of(host.record(numbered(0, 3'001)), EventStatus::kDuplicate) == 3'000);
  // A process that comes now finds that somebody is there.
  Child later([&] {
    UsageOptions other = host.options;
    other.window_ns *= 2;
    Host mine(directory.path());
    as_programs_do(mine);
    Result<std::unique_ptr<log::Log>> opened = log::Log::open(mine.log_options);
    if (!opened) return opened.error().message;
    const std::shared_ptr<log::Log> log = std::move(*opened);
    const auto usage = UsageLog::open(log, other);
    return std::string(usage.ok() ? "opened" : code_name(usage.error().code));
  });
  CHECK(later.join() == "CONFLICT");
  host.close();
}
#endif

TEST_CASE("threads that share one object record each id once") {
  const TempDir directory;
  Host host(directory.path());
  as_programs_do(host);
  host.open();
  std::atomic<size_t> recorded{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (int first = 0; first < 2'000; first += 20) {
        const std::vector<Event> events = numbered(first, 20);
        std::vector<EventStatus> statuses(events.size());
        const auto done = host.usage->record(columns_of(events), log::Ack::kRing, statuses);
        if (done) recorded += done->recorded;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(recorded == 2'000);
  REQUIRE(host.log->flush().ok());
  CHECK(repeated(times_in_log(host)) == 0);
}

TEST_CASE("whoever is stopped with the index keeps others waiting no longer than they said") {
  const TempDir directory;
  Host host(directory.path());
  as_programs_do(host);
  host.options.wait_ns = 20'000'000;
  Victim victim([&](int) {
    host.open();
    host.usage = host.open_usage(std::make_shared<DyingLog>(host.log, DyingLog::When::kStops, 0));
    (void)host.record(Event{.id = "a"});
    pause();
  });
  int status = 0;
  REQUIRE(waitpid(victim.pid(), &status, WUNTRACED) == victim.pid());
  REQUIRE(WIFSTOPPED(status));
  Result<std::unique_ptr<log::Log>> log = log::Log::open(host.log_options);
  REQUIRE(log.ok());
  host.log = std::move(*log);
  const auto refused = UsageLog::open(host.log, host.options);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code == Code::kFull);
  // Its death frees the index, and what it had not recorded is not there.
  (void)victim.kill_and_read();
  host.usage = host.open_usage();
  CHECK(host.record(Event{.id = "a"}) == EventStatus::kRecorded);
}
