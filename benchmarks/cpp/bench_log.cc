// The log: emitting, durable throughput and number of syncs, verification, recovery, beside a bare
// HMAC of the same bytes.
//
//   build/release/bench_log [events [emit | durable | verify]]
//   build/release/bench_log SECONDS commit COMMITTERS [THREADS]   one line, which bench_log.py
//   reads
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "tenancy/base/crypto.h"
#include "tenancy/log/log.h"
#include "tenancy/log/verify.h"

using namespace tenancy;
using namespace tenancy::log;

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Of all threads of this process: what else the machine does is not in it.
double processor_seconds() {
  struct timespec now {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(1);
}

class Directory {
 public:
  Directory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "bench-log-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) fail("no temporary directory");
    path = pattern;
  }
  ~Directory() { std::filesystem::remove_all(path); }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  std::string path;
};

std::unique_ptr<Log> open(const std::string& path,
                          uint64_t segment_bytes = Options().segment_bytes) {
  Options options;
  options.directory = path;
  options.ring_bytes = uint64_t{64} << 20;
  options.segment_bytes = segment_bytes;
  Result<std::unique_ptr<Log>> log = Log::open(options);
  if (!log) fail(log.error().message);
  return std::move(*log);
}

// What the engine says of a refusal.
struct Event {
  Event() {
    fields = {{FieldId::kType, Value::text("permission_denied"), {}},
              {FieldId::kAction, Value::text("agent:create"), {}},
              {FieldId::kResource, Value::text("agent"), {}},
              {FieldId::kPrincipal, Value::text("usr_01j9zq3v5k8m2n4p6r7s8t9v0w"), {}},
              {FieldId::kResult, Value::text("denied"), {}},
              {FieldId::kIp, Value::text("203.0.113.7"), {}},
              {FieldId::kPolicyRevision, Value::unsigned_integer(1234), {}}};
    for (int i = 0; i < 100; ++i)
      tenants.push_back("ten_01j9zq3v5k8m2n4p6r7s8t9v" + std::to_string(10 + i));
  }
  Entry entry(size_t i) const { return {Class::kSecurity, tenants[i % tenants.size()], fields, 0}; }
  std::vector<Field> fields;
  std::vector<std::string> tenants;
};

void bench_emit(size_t events) {
  const Directory directory;
  const auto log = open(directory.path, uint64_t{256} << 20);
  const Event event;
  // In bursts, so short that many are interrupted by nobody, and so many between two flushes that
  // the ring holds them: it is emitting that is measured, not the disk.
  const size_t burst = 1'000;
  const size_t bursts_held = 50;
  double best = 1e9;
  double total = 0;
  size_t done = 0;
  while (done < events) {
    const auto start = Clock::now();
    for (size_t i = 0; i < burst; ++i) {
      if (!log->append(event.entry(i), Ack::kRing)) fail("append");
    }
    const double each = seconds_since(start) / static_cast<double>(burst);
    best = std::min(best, each);
    total += each * static_cast<double>(burst);
    done += burst;
    if (done % (burst * bursts_held) == 0 && !log->flush(Ack::kDisk)) fail("flush");
  }
  const HmacKey key("a key of thirty-two bytes, surely");
  const std::string bytes(340, 'x');
  uint8_t sink = 0;
  double hmac = 1e9;
  for (size_t i = 0; i < 1000; ++i) {
    const auto start = Clock::now();
    for (size_t k = 0; k < 1000; ++k) sink = static_cast<uint8_t>(sink ^ key.mac(bytes)[0]);
    hmac = std::min(hmac, seconds_since(start) * 1e6);
  }
  std::printf(
      "emit one event, ring        %7.0f ns mean, %7.0f ns best burst; a bare HMAC of 340 "
      "bytes %5.0f ns%s\n",
      total / static_cast<double>(done) * 1e9, best * 1e9, hmac, sink == 1 ? " " : "");
}

void bench_durable(size_t committers, size_t each, size_t batch) {
  const Directory directory;
  const auto log = open(directory.path, uint64_t{256} << 20);
  const Event event;
  if (!log->flush(Ack::kDisk)) fail("flush");
  const Health before = log->health();
  const auto start = Clock::now();
  std::vector<std::thread> threads;
  for (size_t t = 0; t < committers; ++t) {
    threads.emplace_back([&] {
      for (size_t i = 0; i < each; ++i) {
        const Ack ack = (i + 1) % batch == 0 ? Ack::kDisk : Ack::kRing;
        if (!log->append(event.entry(i), ack)) fail("append");
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (!log->flush(Ack::kDisk)) fail("flush");
  const double took = seconds_since(start);
  const Health after = log->health();
  const auto count = static_cast<double>(committers * each);
  const auto syncs = static_cast<double>(after.syncs - before.syncs);
  std::printf(
      "durable, %2zu committers, batches of %5zu: %9.0f events/s, %6.0f syncs, %.2f for each "
      "group, %.1f events each\n",
      committers, batch, count / took, syncs,
      syncs / static_cast<double>(std::max<uint64_t>(after.groups - before.groups, 1)),
      count / std::max(syncs, 1.0));
}

// One committer of its own thread, which sleeps until its commit is durable. How many it made.
size_t commit_alone(Log& log, const Event& event, const std::atomic<bool>& over) {
  size_t commits = 0;
  for (; !over.load(std::memory_order_relaxed); ++commits) {
    if (!log.append(event.entry(commits), Ack::kDisk)) fail("append");
  }
  return commits;
}

// So many committers of one thread, as a client with an event loop has them: each commits again
// when its last commit is durable, and not before.
size_t commit_in_turn(Log& log, const Event& event, size_t committers,
                      const std::atomic<bool>& over) {
  size_t commits = 0;
  std::deque<Ticket> waiting;  // in the order in which they will be durable
  const auto commit = [&] {
    const Result<Ticket> ticket = log.submit(event.entry(commits + waiting.size()));
    if (!ticket) fail("submit");
    waiting.push_back(*ticket);
  };
  while (waiting.size() < committers) commit();
  while (!waiting.empty()) {
    if (!log.wait(waiting.front(), Ack::kDisk)) fail("wait");
    for (size_t left = waiting.size(); left > 0 && log.reached(waiting.front(), Ack::kDisk);
         --left) {
      waiting.pop_front();
      ++commits;
      if (!over.load(std::memory_order_relaxed)) commit();
    }
  }
  return commits;
}

// So many committers on so many threads, for so many seconds.
void bench_commits(double seconds, size_t committers, size_t thread_count) {
  const Directory directory;
  const auto log = open(directory.path);
  const Event event;
  if (!log->flush(Ack::kDisk)) fail("flush");
  const Health before = log->health();
  std::atomic<bool> over{false};
  std::atomic<size_t> commits{0};
  const auto start = Clock::now();
  std::vector<std::thread> threads;
  for (size_t t = 0; t < thread_count; ++t) {
    const size_t mine = committers / thread_count + (t < committers % thread_count ? 1 : 0);
    threads.emplace_back([&, mine] {
      commits += thread_count == committers ? commit_alone(*log, event, over)
                                            : commit_in_turn(*log, event, mine, over);
    });
  }
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  over = true;
  for (std::thread& thread : threads) thread.join();
  const double took = seconds_since(start);
  const Health after = log->health();
  std::printf("%.0f %llu %llu\n", static_cast<double>(commits.load()) / took,
              static_cast<unsigned long long>(after.syncs - before.syncs),
              static_cast<unsigned long long>(after.groups - before.groups));
}

void bench_verify_and_recover(size_t events) {
  const Directory directory;
  const Event event;
  {
    const auto log = open(directory.path, uint64_t{1} << 30);
    for (size_t i = 0; i < events; ++i) {
      if (!log->append(event.entry(i), Ack::kRing)) fail("append");
    }
    if (!log->flush(Ack::kDisk)) fail("flush");
  }
  VerifyOptions options;
  options.log_directory = directory.path + "/log";
  options.key_path = directory.path + "/keys/log.verify";
  Report report;
  double took = 1e9;
  for (int i = 0; i < 5; ++i) {
    const double start = processor_seconds();
    report = verify(Files::system(), options);
    took = std::min(took, processor_seconds() - start);
  }
  if (report.verdict != Verdict::kQualified) fail("not verified: " + report.findings[0].text);
  std::printf(
      "verify, of a processor's second, best of 5 %9.0f records/s (%llu records, %.0f bytes "
      "each)\n",
      static_cast<double>(report.records) / took, static_cast<unsigned long long>(report.records),
      static_cast<double>(report.bytes) / static_cast<double>(report.records));
  std::filesystem::remove(directory.path + "/log/ring");
  const auto start = Clock::now();
  const auto log = open(directory.path, uint64_t{1} << 30);
  took = seconds_since(start);
  std::printf("recovery of a tail          %9.2f s for %zu records\n", took, events);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc >= 4 && std::string(argv[2]) == "commit") {
    const size_t committers = std::max<size_t>(std::strtoull(argv[3], nullptr, 10), 1);
    const size_t threads = argc == 5 ? std::strtoull(argv[4], nullptr, 10) : committers;
    bench_commits(std::strtod(argv[1], nullptr), committers,
                  std::clamp<size_t>(threads, 1, committers));
    return 0;
  }
  const size_t events = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1'000'000;
  const std::string part = argc > 2 ? argv[2] : "";
  if (part.empty() || part == "emit") bench_emit(events / 2);
  if (part.empty() || part == "durable") {
    bench_durable(1, events, 1000);
    bench_durable(1, 5'000, 1);
    bench_durable(8, 5'000, 1);
    bench_durable(64, 2'000, 1);
  }
  if (part.empty() || part == "verify") bench_verify_and_recover(events);
  return 0;
}
