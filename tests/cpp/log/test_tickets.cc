// Committing and waiting apart: one thread with many commits in flight, disks that fail meanwhile,
// logs that are closed, processes that fork and die.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <deque>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "faulty_files.h"
#include "rig.h"
#include "tenancy/log/futex.h"
#include "victim.h"
#include "watched_files.h"

using namespace tenancy;
using namespace tenancy::log;
using namespace tenancy::log::test;

namespace {

constexpr int64_t kLongNs = 120'000'000'000;

Ticket submit(Log& log, std::string_view text) {
  const Field fields[] = {{FieldId::kResourceId, Value::text(text), {}}};
  const Result<Ticket> ticket = log.submit({Class::kOther, "ten_1", fields, 0});
  if (!ticket) FAIL(ticket.error().message);
  return *ticket;
}

bool recorded_but(const Status& status, Code code) {
  return !status && status.error().code == code &&
         status.error().message.rfind("recorded, but not yet ", 0) == 0;
}

// A log whose thread flushes.
Options lively(const std::string& directory) {
  Options options = options_in(directory);
  options.background = true;
  options.clock = nullptr;
  options.ack_wait_ns = kLongNs;
  options.full_wait_ns = kLongNs;
  return options;
}

// Of which every write and sync fails while `broken`.
struct Disk {
  explicit Disk(bool background) {
    std::filesystem::create_directories(directory.path() + "/log");
    REQUIRE(files.make_directory(directory.path() + "/log").ok());
    files.set_fault([this](const FaultyFiles::Call& call, size_t) -> std::optional<Error> {
      const bool hit = call.op == FaultyFiles::Op::kWrite || call.op == FaultyFiles::Op::kSync;
      if (!broken || !hit) return std::nullopt;
      return Error{Code::kIo, call.path + ": injected"};
    });
    options = options_in(directory.path());
    options.shared = false;
    options.files = &files;
    options.background = background;
  }
  // What a loss of power now would leave; to be opened when the log is closed.
  auto after_power_cut() {
    return files.after_power_cut(files.operations(), FaultyFiles::Keep::kNothing, 0);
  }
  std::vector<std::string> recovered_from(FaultyFiles& disk) {
    Options there = options;
    there.files = &disk;
    there.background = false;
    const auto log = open(there);
    REQUIRE(log->flush().ok());
    return events_of(directory.path(), Class::kOther, disk);
  }
  TempDir directory;
  std::atomic<bool> broken{false};
  FaultyFiles files;
  Options options;
};

}  // namespace

TEST_CASE("a ticket is reached when its record is at the level, and not before") {
  Disk disk(false);
  const auto log = open(disk.options);
  const Ticket first = submit(*log, "first");
  const Ticket second = submit(*log, "second");
  CHECK(second.position.sequence == first.position.sequence + 1);
  CHECK(second.end > first.end);
  CHECK(log->reached(first, Ack::kRing));
  CHECK_FALSE(log->reached(first, Ack::kOs));
  CHECK(log->wait(first, Ack::kRing).ok());
  REQUIRE(log->wait(first, Ack::kOs).ok());
  CHECK(log->reached(first, Ack::kOs));
  CHECK_FALSE(log->reached(first, Ack::kDisk));
  REQUIRE(log->wait(first, Ack::kDisk).ok());
  CHECK(log->reached(first, Ack::kDisk));
  CHECK_FALSE(log->reached(second, Ack::kOs));
  const auto one = disk.after_power_cut();
  REQUIRE(log->wait(second, Ack::kDisk).ok());
  const auto both = disk.after_power_cut();
  REQUIRE(log->close().ok());
  CHECK(disk.recovered_from(*one) == std::vector<std::string>{"first"});
  CHECK(disk.recovered_from(*both) == std::vector<std::string>{"first", "second"});
}

TEST_CASE("all tickets up to the one that was waited for share its sync") {
  const TempDir directory;
  const auto log = open(options_in(directory.path()));
  REQUIRE(log->flush().ok());
  const uint64_t before = log->health().syncs;
  std::vector<Ticket> tickets;
  for (int i = 0; i < 64; ++i) tickets.push_back(submit(*log, std::to_string(i)));
  REQUIRE(log->wait(tickets.back(), Ack::kDisk).ok());
  CHECK(log->health().syncs == before + 1);
  for (const Ticket& ticket : tickets) CHECK(log->reached(ticket, Ack::kDisk));
}

TEST_CASE("a ticket that nobody waits for is durable after the interval of syncs") {
  const TempDir directory;
  Options options = lively(directory.path());
  options.sync_interval_ns = 1'000'000;
  const auto log = open(options);
  const Ticket ticket = submit(*log, "left alone");
  const int64_t until = real_ns() + kLongNs;
  while (!log->reached(ticket, Ack::kDisk) && real_ns() < until) std::this_thread::yield();
  CHECK(log->reached(ticket, Ack::kDisk));
}

TEST_CASE("a ticket of no record of this log is refused") {
  const TempDir directory;
  const auto log = open(options_in(directory.path()));
  Ticket ticket = submit(*log, "x");
  for (const uint64_t end : {uint64_t{0}, ticket.end + 1}) {
    ticket.end = end;
    const Status status = log->wait(ticket, Ack::kDisk);
    REQUIRE_FALSE(status.ok());
    CHECK(status.error().code == Code::kInvalidArgument);
  }
}

TEST_CASE(
    "a disk that fails leaves tickets unreached, and they are waited for again once it does not") {
  for (const bool background : {false, true}) {
    INFO("background " << background);
    Disk disk(background);
    disk.options.ack_wait_ns = background ? kLongNs : 0;
    const auto log = open(disk.options);
    REQUIRE(log->flush().ok());
    disk.broken = true;
    const Ticket first = submit(*log, "first");
    const Ticket second = submit(*log, "second");
    for (const Ticket& ticket : {first, second}) {
      const Status status = log->wait(ticket, Ack::kDisk);
      REQUIRE(recorded_but(status, Code::kIo));
      CHECK(status.error().message.find("injected") != std::string::npos);
      CHECK_FALSE(log->reached(ticket, Ack::kDisk));
    }
    disk.broken = false;
    REQUIRE(log->wait(first, Ack::kDisk, kLongNs).ok());
    REQUIRE(log->wait(second, Ack::kDisk, kLongNs).ok());
    const auto both = disk.after_power_cut();
    REQUIRE(log->close().ok());
    CHECK(disk.recovered_from(*both) == std::vector<std::string>{"first", "second"});
  }
}

TEST_CASE("waiting ends when its time is over, and the ticket is good for another try") {
  Disk disk(true);
  const auto log = open(disk.options);
  REQUIRE(log->flush().ok());
  disk.broken = true;
  const Ticket ticket = submit(*log, "x");
  const int64_t began = real_ns();
  CHECK(recorded_but(log->wait(ticket, Ack::kDisk, 1'000'000), Code::kIo));
  CHECK(real_ns() - began < kLongNs);
  disk.broken = false;
  CHECK(log->wait(ticket, Ack::kDisk, kLongNs).ok());
}

TEST_CASE("closing makes tickets durable; a closed log answers for them and takes no more") {
  const TempDir directory;
  const auto log = open(options_in(directory.path()));
  const Ticket ticket = submit(*log, "x");
  CHECK_FALSE(log->reached(ticket, Ack::kDisk));
  REQUIRE(log->close().ok());
  CHECK(log->reached(ticket, Ack::kDisk));
  CHECK(log->wait(ticket, Ack::kDisk).ok());
  const Result<Ticket> refused = log->submit({});
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code == Code::kConflict);
}

TEST_CASE("who waits while a log is closed on a disk that fails is told so, and not kept waiting") {
  Disk disk(true);
  disk.options.ack_wait_ns = kLongNs;
  const auto log = open(disk.options);
  REQUIRE(log->flush().ok());
  const Ticket ticket = submit(*log, "x");
  disk.broken = true;
  Status told;
  const int64_t began = real_ns();
  std::thread waiter([&] { told = log->wait(ticket, Ack::kDisk); });
  CHECK_FALSE(log->close().ok());
  waiter.join();
  CHECK(real_ns() - began < kLongNs / 2);
  // Which of the two it is depends on which came first: that the disk fails, or the end.
  CHECK((recorded_but(told, Code::kConflict) || recorded_but(told, Code::kIo)));
  CHECK(recorded_but(log->wait(ticket, Ack::kDisk), Code::kConflict));
  CHECK_FALSE(log->reached(ticket, Ack::kDisk));
}

TEST_CASE("a forked child waits for what its parent committed, but not in a log of one process") {
  const TempDir directory;
  const auto log = open(options_in(directory.path()));
  const Ticket ticket = submit(*log, "parent");
  Child child([&]() -> std::string {
    if (log->reached(ticket, Ack::kDisk)) return "too early";
    const Status status = log->wait(ticket, Ack::kDisk);
    return status ? "durable" : status.error().message;
  });
  // Who leads flushes, which may be either of them.
  REQUIRE(log->wait(ticket, Ack::kDisk, kLongNs).ok());
  CHECK(child.join() == "durable");

  const TempDir other;
  Options options = options_in(other.path());
  options.shared = false;
  const auto own = open(options);
  const Ticket mine = submit(*own, "x");
  Child stranger([&]() -> std::string {
    return std::string(recorded_but(own->wait(mine, Ack::kDisk), Code::kConflict) ? "told" : "not");
  });
  CHECK(stranger.join() == "told");
}

TEST_CASE(
    "when the process that flushes is killed, tickets of the others are reached all the same") {
  const TempDir directory;
  const Options options = lively(directory.path());
  std::vector<std::string> expected = {"leader"};
  Victim leader([&](int to) {
    const auto log = open(options);
    append(*log, Class::kOther, "ten_1", "leader", Ack::kDisk);
    say(to, "leads\n");
    pause();
  });
  leader.wait_for_lines(1);
  const auto log = open(options);
  REQUIRE(kill(leader.pid(), SIGSTOP) == 0);
  std::vector<Ticket> tickets;
  for (int i = 0; i < 20; ++i) {
    expected.push_back(std::to_string(i));
    tickets.push_back(submit(*log, expected.back()));
  }
  CHECK(recorded_but(log->wait(tickets.back(), Ack::kDisk, 1'000'000), Code::kIo));
  (void)leader.kill_and_read();
  REQUIRE(log->wait(tickets.front(), Ack::kDisk).ok());
  REQUIRE(log->wait(tickets.back(), Ack::kDisk).ok());
  CHECK(events_of(directory.path(), Class::kOther) == expected);
  CHECK(checked(directory.path()).findings.size() == 1);
}

TEST_CASE("who waits for a commit syncs it, unless there is no time for a disk like this one") {
  const TempDir directory;
  WatchedFiles files;
  std::atomic<bool> slow{false};
  std::atomic<size_t> here{0};
  std::atomic<size_t> elsewhere{0};
  const std::thread::id me = std::this_thread::get_id();
  files.after_sync = [&](const std::string&) {
    ++(std::this_thread::get_id() == me ? here : elsewhere);
    if (slow) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  };
  Options options = lively(directory.path());
  options.files = &files;
  const auto log = open(options);
  REQUIRE(log->flush().ok());
  here = 0;
  for (int i = 0; i < 1000 && here == 0; ++i) append(*log, Class::kOther, "t", "x", Ack::kDisk);
  CHECK(here > 0);

  slow = true;
  append(*log, Class::kOther, "t", "by whomever", Ack::kDisk);
  here = elsewhere = 0;
  const Ticket ticket = submit(*log, "by the thread");
  const Status waited = log->wait(ticket, Ack::kDisk, 150'000'000);
  CHECK((waited.ok() || recorded_but(waited, Code::kIo)));
  CHECK(here == 0);
  REQUIRE(log->wait(ticket, Ack::kDisk, kLongNs).ok());
  CHECK(elsewhere > 0);
}

TEST_CASE("who commits again and again keeps nobody from a checkpoint or a rotation") {
  const TempDir directory;
  WatchedFiles files;
  files.before_sync = [](const std::string&) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  };
  Options options = lively(directory.path());
  options.files = &files;
  const auto log = open(options);
  REQUIRE(log->flush().ok());
  constexpr int kCommits = 5'000;  // for longer than all the rest takes
  std::atomic<bool> done{false};
  std::atomic<int> commits{0};
  std::thread busy([&] {
    for (; commits < kCommits && !done; ++commits)
      append(*log, Class::kOther, "t", "x", Ack::kDisk);
  });
  for (int i = 0; i < 5; ++i) {
    CHECK(log->checkpoint().ok());
    CHECK(log->rotate().ok());
  }
  done = true;
  busy.join();
  CHECK(commits < kCommits);
}

TEST_CASE("threads with many commits in flight each have them durable in their order") {
  const TempDir directory;
  Options options = lively(directory.path());
  options.segment_bytes = 256 << 10;
  const auto log = open(options);
  std::atomic<int> failed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      std::deque<Ticket> waiting;
      const std::string tenant = "ten_" + std::to_string(t);
      const Field fields[] = {{FieldId::kResourceId, Value::text("x"), {}}};
      for (int i = 0; i < 600; ++i) {
        const Result<Ticket> ticket = log->submit({Class::kOther, tenant, fields, 0});
        if (!ticket) return (void)++failed;
        waiting.push_back(*ticket);
        if (waiting.size() < 16) continue;
        if (!log->wait(waiting.front(), Ack::kDisk)) ++failed;
        while (!waiting.empty() && log->reached(waiting.front(), Ack::kDisk)) waiting.pop_front();
      }
      if (!log->wait(waiting.empty() ? Ticket{{}, 1} : waiting.back(), Ack::kDisk)) ++failed;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(failed == 0);
  CHECK(log->health().unsynced_bytes == 0);
  const Report report = checked(directory.path());
  INFO(shown(report));
  CHECK(report.findings.size() == 1);
  CHECK(report.chains[2].events == 1800);
}
