#include <cstring>
#include <fstream>
#include <thread>
#include <vector>

#include "catch.h"
#include "process.h"
#include "tenancy/base/clock.h"

using tenancy::Clock;
using tenancy::Code;
using tenancy::FakeClock;
using tenancy::test::Child;
using tenancy::test::TempDir;

namespace {

std::shared_ptr<FakeClock> open_clock(const std::string& path, int64_t start) {
  auto clock = FakeClock::open(path, start);
  REQUIRE(clock.ok());
  return *clock;
}

std::string read_all(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("the system clock runs forward and names its boot") {
  const auto clock = Clock::system();
  const int64_t before = clock->mono_ns();
  CHECK(clock->mono_ns() >= before);
  CHECK(clock->wall_ns() > 1'700'000'000'000'000'000);
  CHECK_FALSE(clock->boot_id().empty());
  CHECK(clock->boot_id() == Clock::system()->boot_id());
}

TEST_CASE("a fake clock moves only when told") {
  FakeClock clock(1'000);
  CHECK(clock.mono_ns() == 1'000);
  CHECK(clock.wall_ns() == 1'000);
  clock.advance(5);
  CHECK(clock.mono_ns() == 1'005);
  CHECK(clock.wall_ns() == 1'005);
  clock.step_wall(-100);
  CHECK(clock.mono_ns() == 1'005);
  CHECK(clock.wall_ns() == 905);
  clock.step_mono(-1);
  CHECK(clock.mono_ns() == 1'004);
  CHECK(clock.wall_ns() == 905);
  CHECK(clock.boot_id() == "fake");
}

TEST_CASE("the first opener of a shared clock sets the time, later ones join") {
  const TempDir dir;
  const auto first = open_clock(dir.file("clock"), 100);
  first->advance(11);
  const auto second = open_clock(dir.file("clock"), 999);
  CHECK(second->wall_ns() == 111);
  second->step_wall(-11);
  CHECK(first->wall_ns() == 100);
  CHECK(first->mono_ns() == 111);
}

TEST_CASE("a shared clock is one clock before and after fork, and in processes that open it") {
  const TempDir dir;
  const auto clock = open_clock(dir.file("clock"), 0);
  {
    std::vector<std::unique_ptr<Child>> children;
    for (int i = 0; i < 4; ++i) {
      children.push_back(std::make_unique<Child>([&, i] {
        // Even ones use what they inherited, odd ones open for themselves.
        const auto mine = i % 2 == 0 ? clock : *FakeClock::open(dir.file("clock"), 5);
        for (int step = 0; step < 1'000; ++step) mine->advance(3);
        return std::string("done");
      }));
    }
    for (auto& child : children) CHECK(child->join() == "done");
  }
  CHECK(clock->wall_ns() == 4 * 1'000 * 3);
  CHECK(clock->mono_ns() == 4 * 1'000 * 3);
}

TEST_CASE("of many first openers exactly one sets the time") {
  const TempDir dir;
  for (int round = 0; round < 20; ++round) {
    const std::string path = dir.file("clock" + std::to_string(round));
    Child child([&] { return std::to_string((*FakeClock::open(path, 1))->wall_ns()); });
    const auto mine = open_clock(path, 2);
    CHECK(child.join() == std::to_string(mine->wall_ns()));
  }
}

TEST_CASE("another program's file is refused and left alone") {
  const TempDir dir;
  const std::string path = dir.file("notes.txt");
  std::ofstream(path) << "shopping list";
  const auto clock = FakeClock::open(path, 1);
  REQUIRE_FALSE(clock.ok());
  CHECK(clock.error().code == Code::kForeign);
  CHECK(clock.error().message.find("shopping") != std::string::npos);
  CHECK(read_all(path) == "shopping list");
}

TEST_CASE("a clock file of another version is refused") {
  const TempDir dir;
  const std::string path = dir.file("clock");
  open_clock(path, 1);
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(8);
  file.put(9);
  file.close();
  const auto clock = FakeClock::open(path, 1);
  REQUIRE_FALSE(clock.ok());
  CHECK(clock.error().code == Code::kVersion);
}

TEST_CASE("a clock file whose maker died before setting it is set by the next opener") {
  const TempDir dir;
  const std::string path = dir.file("clock");
  std::ofstream(path) << std::string(4096, '\0');
  CHECK(open_clock(path, 77)->wall_ns() == 77);
}
