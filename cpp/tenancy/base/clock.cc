#include "tenancy/base/clock.h"

#include <ctime>
#include <fstream>
#include <new>
#include <utility>

#include "tenancy/base/mapped_file.h"

namespace tenancy {
namespace {

int64_t read_clock(clockid_t id) {
  timespec now{};
  clock_gettime(id, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

class SystemClock final : public Clock {
 public:
  int64_t mono_ns() const override { return read_clock(CLOCK_BOOTTIME); }
  int64_t wall_ns() const override { return read_clock(CLOCK_REALTIME); }
  std::string boot_id() const override {
    static const std::string* const id = [] {
      auto* const text = new std::string;
      std::ifstream("/proc/sys/kernel/random/boot_id") >> *text;
      // Without /proc the moment of boot names it, to the minute: clock steps below that do not
      // matter.
      if (text->empty()) {
        const int64_t boot_ns = read_clock(CLOCK_REALTIME) - read_clock(CLOCK_BOOTTIME);
        *text = "boot-" + std::to_string(boot_ns / 60'000'000'000);
      }
      return text;
    }();
    return *id;
  }
};

constexpr std::string_view kMagic = "TNCYCLK1";
constexpr uint32_t kVersion = 1;
constexpr size_t kCellsOffset = 64;
constexpr size_t kFileBytes = 4096;

// The file's first bytes. `magic` is written last, under the file lock: a file without it is not
// set.
struct Header {
  char magic[8];
  uint32_t version;
};

}  // namespace

std::shared_ptr<const Clock> Clock::system() {
  static const auto clock = std::make_shared<const SystemClock>();
  return clock;
}

FakeClock::FakeClock(int64_t start_wall_ns) : own_{start_wall_ns, start_wall_ns}, cells_(&own_) {}

FakeClock::FakeClock(std::unique_ptr<MappedFile> file, Cells* cells)
    : own_{0, 0}, file_(std::move(file)), cells_(cells) {}

FakeClock::~FakeClock() = default;

Result<std::shared_ptr<FakeClock>> FakeClock::open(const std::string& path, int64_t start_wall_ns) {
  static_assert(std::atomic<int64_t>::is_always_lock_free, "cells are shared between processes");
  auto opened = MappedFile::open(path, {.size_bytes = kFileBytes, .magic = kMagic}, nullptr);
  if (!opened) return opened.error();
  std::unique_ptr<MappedFile> file = std::move(opened).value();
  auto* const header = reinterpret_cast<Header*>(file->data());
  auto* const cells = reinterpret_cast<Cells*>(file->data() + kCellsOffset);
  {
    const MappedFile::Lock lock(*file);
    if (std::string_view(header->magic, sizeof header->magic) != kMagic) {
      new (cells) Cells{start_wall_ns, start_wall_ns};
      header->version = kVersion;
      kMagic.copy(header->magic, sizeof header->magic);
    } else if (header->version != kVersion) {
      return Error{Code::kVersion, path + ": a fake clock of version " +
                                       std::to_string(header->version) + ", expected " +
                                       std::to_string(kVersion) + "; delete the file"};
    }
  }
  return std::shared_ptr<FakeClock>(new FakeClock(std::move(file), cells));
}

int64_t FakeClock::mono_ns() const { return cells_->mono_ns.load(std::memory_order_acquire); }
int64_t FakeClock::wall_ns() const { return cells_->wall_ns.load(std::memory_order_acquire); }
std::string FakeClock::boot_id() const { return "fake"; }

void FakeClock::advance(int64_t delta_ns) {
  step_mono(delta_ns);
  step_wall(delta_ns);
}

void FakeClock::step_wall(int64_t delta_ns) {
  cells_->wall_ns.fetch_add(delta_ns, std::memory_order_acq_rel);
}

void FakeClock::step_mono(int64_t delta_ns) {
  cells_->mono_ns.fetch_add(delta_ns, std::memory_order_acq_rel);
}

}  // namespace tenancy
