// Power cuts: after every operation of a workload, and after any part of what was not synced, a log
// opens, has everything it acknowledged as durable, goes on, and verifies without a false alarm.
#include <algorithm>
#include <filesystem>
#include <functional>

#include "faulty_files.h"
#include "rig.h"
#include "tenancy/log/checkpoint.h"

using namespace tenancy;
using namespace tenancy::log;
using namespace tenancy::log::test;

namespace {

struct Promise {
  size_t operations;  // at the time of the acknowledgement
  Class chain;
  uint64_t sequence;
  std::string text;
};

// A prune that returned.
struct Prune {
  size_t operations;
  Class chain;
  uint64_t kept_from;
};

// A workload on a disk that remembers.
struct Run {
  explicit Run(const std::function<void(Run&)>& workload) {
    files.make_directory(directory.path() + "/log").ok();
    std::filesystem::create_directories(directory.path() + "/log");
    workload(*this);
  }

  Options options(Files& on) const {
    Options out = options_in(directory.path());
    out.shared = false;
    out.files = &on;
    return out;
  }

  void write(Log& log, Class chain, const std::string& text, Ack ack) {
    const Position at = append(log, chain, "ten_" + std::to_string(text.size() % 3), text, ack);
    if (ack == Ack::kDisk) promises.push_back({files.operations(), chain, at.sequence, text});
  }

  void prune(Log& log, Class chain) {
    const Result<PruneResult> done = log.prune(chain, log.position(chain));
    if (!done) FAIL(done.error().message);
    REQUIRE_FALSE(done->segments.empty());
    prunes.push_back({files.operations(), chain, done->kept_from});
  }

  TempDir directory;
  FaultyFiles files;
  std::vector<Promise> promises;
  std::vector<Prune> prunes;
  std::vector<std::pair<size_t, std::string>> notes;
};

void require_whole(const Report& report, bool may_be_torn) {
  INFO(shown(report));
  for (const Finding& finding : report.findings) {
    const bool fine = finding.code == "unanchored" || finding.code == "repaired" ||
                      finding.code == "pruned" ||
                      (may_be_torn && (finding.code == "torn_tail" || finding.code == "head_torn" ||
                                       finding.code == "checkpoint_torn"));
    REQUIRE(fine);
  }
}

// Each prune has happened or has not: stubs and segments do not overlap, and one that returned has.
void check_prunes(const Run& run, size_t operations, FaultyFiles& disk) {
  const std::string& directory = run.directory.path();
  const auto all = list_segment_files(disk, directory + "/log/segments");
  REQUIRE(all.ok());
  for (size_t i = 0; i < kClasses; ++i) {
    const uint64_t kept = kept_in(directory, static_cast<Class>(i), disk);
    bool asked = kept == 0;
    for (const Prune& prune : run.prunes) {
      if (index(prune.chain) != i) continue;
      asked = asked || kept == prune.kept_from;
      if (prune.operations <= operations) REQUIRE(kept >= prune.kept_from);
    }
    REQUIRE(asked);
    for (const uint64_t first : (*all)[i].stubs) REQUIRE(first < kept);
    for (const uint64_t first : (*all)[i].segments) REQUIRE(first >= kept);
  }
}

// The log after a cut: verified as it lies, opened, read, continued, verified.
void survives(const Run& run, size_t operations, FaultyFiles& disk, bool made) {
  const std::string& directory = run.directory.path();
  if (made) require_whole(checked(directory, {}, 0, disk), true);
  {
    const auto log = open(run.options(disk));
    REQUIRE(log->flush().ok());
    check_prunes(run, operations, disk);
    std::map<Class, std::vector<std::string>> events;
    for (const Promise& promise : run.promises) {
      if (promise.operations > operations) break;
      if (promise.sequence < kept_in(directory, promise.chain, disk)) continue;
      if (events.count(promise.chain) == 0) {
        events[promise.chain] = events_of(directory, promise.chain, disk);
      }
      const auto& found = events[promise.chain];
      INFO("acknowledged: " << promise.text);
      REQUIRE(std::find(found.begin(), found.end(), promise.text) != found.end());
    }
    append(*log, Class::kAccess, "ten_1", "after", Ack::kDisk);
  }
  std::vector<std::string> anchors;
  for (const auto& [at, note] : run.notes) {
    if (at <= operations) anchors.push_back(note);
  }
  require_whole(checked(directory, anchors, 0, disk), false);
}

size_t states_of(const Run& run, size_t from, size_t variants) {
  size_t states = 0;
  for (size_t cut = from; cut <= run.files.operations(); ++cut) {
    for (size_t variant = 0; variant < variants; ++variant) {
      const auto keep = variant == 0   ? FaultyFiles::Keep::kNothing
                        : variant == 1 ? FaultyFiles::Keep::kAll
                                       : FaultyFiles::Keep::kSome;
      INFO("cut after operation " << cut << " of " << run.files.operations() << ", variant "
                                  << variant);
      const auto disk = run.files.after_power_cut(cut, keep, cut * 31 + variant);
      survives(run, cut, *disk, true);
      ++states;
    }
  }
  return states;
}

size_t variants_for(const Run& run, size_t from) {
  return 1100 / (run.files.operations() - from + 1) + 2;
}

}  // namespace

TEST_CASE("power cuts while a log is made leave nothing that needs a person") {
  // Including the first records: one that is torn before a chain has begun leaves no chain.
  const Run run([](Run& r) {
    const auto log = open(r.options(r.files));
    r.write(*log, Class::kAccess, "event of many sectors" + std::string(9000, '.'), Ack::kDisk);
  });
  size_t made_at = 0;
  for (size_t cut = 0; cut <= run.files.operations(); ++cut) {
    for (size_t variant = 0; variant < 8; ++variant) {
      const auto keep = variant == 0   ? FaultyFiles::Keep::kNothing
                        : variant == 1 ? FaultyFiles::Keep::kAll
                                       : FaultyFiles::Keep::kSome;
      INFO("cut after operation " << cut << ", variant " << variant);
      const auto disk = run.files.after_power_cut(cut, keep, cut * 31 + variant);
      survives(run, cut, *disk, false);
      ++made_at;
    }
  }
  CHECK(made_at > 200);
}

TEST_CASE("power cuts between single appends at disk lose none") {
  size_t from = 0;
  const Run run([&](Run& r) {
    const auto log = open(r.options(r.files));
    REQUIRE(log->flush().ok());
    from = r.files.operations();
    for (int i = 0; i < 40; ++i) {
      r.write(*log, i % 3 == 0 ? Class::kSecurity : Class::kAccess, "event " + std::to_string(i),
              Ack::kDisk);
    }
  });
  CHECK(states_of(run, from, variants_for(run, from)) >= 1000);
}

TEST_CASE("power cuts in group commits lose no acknowledged group") {
  size_t from = 0;
  const Run run([&](Run& r) {
    const auto log = open(r.options(r.files));
    REQUIRE(log->flush().ok());
    from = r.files.operations();
    for (int group = 0; group < 8; ++group) {
      for (int i = 0; i < 30; ++i) {
        r.write(*log, static_cast<Class>(i % 4),
                "event " + std::to_string(group) + "." + std::to_string(i),
                i == 29 ? Ack::kDisk : Ack::kRing);
      }
    }
  });
  CHECK(states_of(run, from, variants_for(run, from)) >= 1000);
}

TEST_CASE("power cuts while segments roll leave no gap") {
  size_t from = 0;
  const Run run([&](Run& r) {
    const auto log = open(r.options(r.files));
    REQUIRE(log->flush().ok());
    from = r.files.operations();
    const std::string filler(9000, '.');
    for (int i = 0; i < 30; ++i) {
      r.write(*log, i % 5 == 0 ? Class::kUsage : Class::kAccess, std::to_string(i) + filler,
              i % 3 == 0 ? Ack::kDisk : Ack::kOs);
    }
  });
  CHECK(states_of(run, from, variants_for(run, from)) >= 1000);
}

TEST_CASE("power cuts while keys rotate and checkpoints are made keep both") {
  size_t from = 0;
  const Run run([&](Run& r) {
    const auto log = open(r.options(r.files));
    REQUIRE(log->flush().ok());
    from = r.files.operations();
    for (int round = 0; round < 4; ++round) {
      for (int i = 0; i < 5; ++i) {
        r.write(*log, static_cast<Class>(i % 4),
                "event " + std::to_string(round) + "." + std::to_string(i), Ack::kRing);
      }
      REQUIRE(log->rotate().ok());
      const Result<std::string> note = log->checkpoint();
      REQUIRE(note.ok());
      r.notes.emplace_back(r.files.operations(), *note);
      r.write(*log, Class::kOther, "round " + std::to_string(round), Ack::kDisk);
    }
  });
  CHECK(states_of(run, from, variants_for(run, from)) >= 1000);
}

TEST_CASE("power cuts in retention lose no kept record and leave no prune half done") {
  size_t from = 0;
  const Run run([&](Run& r) {
    const auto log = open(r.options(r.files));
    REQUIRE(log->flush().ok());
    const std::string filler(9000, '.');
    const auto write = [&](int count) {
      for (int i = 0; i < count; ++i) {
        r.write(*log, i % 3 == 0 ? Class::kUsage : Class::kAccess, std::to_string(i) + filler,
                i % 4 == 0 ? Ack::kDisk : Ack::kOs);
      }
    };
    const auto checkpoint = [&] {
      const Result<std::string> note = log->checkpoint();
      REQUIRE(note.ok());
      r.notes.emplace_back(r.files.operations(), *note);
    };
    write(26);
    checkpoint();
    from = r.files.operations();
    r.prune(*log, Class::kAccess);
    write(14);
    checkpoint();
    REQUIRE(log->rotate().ok());
    r.prune(*log, Class::kUsage);
    r.prune(*log, Class::kAccess);
    write(3);
  });
  CHECK(states_of(run, from, variants_for(run, from)) >= 1000);
}

TEST_CASE("a recovery that is itself cut off is recovered from") {
  size_t from = 0;
  const Run run([&](Run& r) {
    const auto log = open(r.options(r.files));
    REQUIRE(log->flush().ok());
    from = r.files.operations();
    for (int i = 0; i < 12; ++i) {
      r.write(*log, Class::kAccess, "event " + std::to_string(i) + std::string(600, '.'),
              i % 4 == 3 ? Ack::kDisk : Ack::kOs);
    }
  });
  size_t states = 0;
  for (size_t cut = from; cut <= run.files.operations(); cut += 2) {
    const auto disk = run.files.after_power_cut(cut, FaultyFiles::Keep::kSome, cut);
    // The second life is recorded from a disk that starts as the first one ended.
    size_t before = 0;
    {
      const auto log = open(run.options(*disk));
      REQUIRE(log->flush().ok());
      before = disk->operations();
    }
    for (size_t again = 0; again <= before; ++again) {
      INFO("cut after operation " << cut << ", again after operation " << again);
      const auto second = disk->after_power_cut(again, FaultyFiles::Keep::kSome, again * 7 + cut);
      survives(run, cut, *second, true);
      ++states;
    }
  }
  CHECK(states >= 200);
}
