#include "tenancy/base/process_id.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

namespace tenancy {
namespace {

constexpr unsigned kPidBits = 22;    // PID_MAX_LIMIT of Linux is 2^22
constexpr unsigned kStartBits = 26;  // clock ticks: a week
constexpr uint64_t kPidMask = (uint64_t{1} << kPidBits) - 1;
constexpr uint64_t kStartMask = (uint64_t{1} << kStartBits) - 1;

struct ProcessStat {
  char state = '?';
  uint64_t threads = 0;
  uint64_t start_ticks = 0;
};

enum class Seen { kRead, kGone, kUnknown };

// proc(5): "pid (comm) state …", where comm may hold anything, closing parentheses included.
Seen read_stat(uint64_t pid, ProcessStat* stat) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return errno == ENOENT && access("/proc/self/stat", R_OK) == 0 ? Seen::kGone : Seen::kUnknown;
  std::array<char, 1024> text{};
  const ssize_t got = read(fd, text.data(), text.size() - 1);
  const int error = errno;
  close(fd);
  if (got <= 0) return got < 0 && error == ESRCH ? Seen::kGone : Seen::kUnknown;
  const char* at = std::strrchr(text.data(), ')');
  if (at == nullptr || at[1] == '\0') return Seen::kUnknown;
  stat->state = at[2];
  at += 3;
  constexpr int kThreadsField = 20;
  constexpr int kStartField = 22;
  for (int field = 4; field <= kStartField; ++field) {
    char* end = nullptr;
    const uint64_t value = std::strtoull(at, &end, 10);
    if (end == at) return Seen::kUnknown;
    if (field == kThreadsField) stat->threads = value;
    if (field == kStartField) stat->start_ticks = value;
    at = end;
  }
  return Seen::kRead;
}

uint64_t own_namespace() {
  struct stat info {};
  if (stat("/proc/self/ns/pid", &info) != 0) return 0;
  const auto inode = static_cast<uint64_t>(info.st_ino);
  return (inode ^ inode >> 16 ^ inode >> 32) & 0xffff;
}

uint64_t make_id(uint64_t pid, uint64_t start_ticks, uint64_t name_space) {
  return (pid & kPidMask) | (start_ticks & kStartMask) << kPidBits |
         name_space << (kPidBits + kStartBits);
}

}  // namespace

std::atomic<uint64_t> g_fork_count{0};

uint64_t own_process_id() {
  const auto pid = static_cast<uint64_t>(getpid());
  ProcessStat stat;
  (void)read_stat(pid, &stat);  // without /proc the start time is 0 and everybody counts as alive
  return make_id(pid, stat.start_ticks, own_namespace());
}

bool process_alive(uint64_t process_id) {
  const uint64_t name_space = process_id >> (kPidBits + kStartBits);
  if (name_space != own_namespace()) return true;
  ProcessStat stat;
  switch (read_stat(process_id & kPidMask, &stat)) {
    case Seen::kGone: return false;
    case Seen::kUnknown: return true;
    case Seen::kRead: break;
  }
  // 0: it could not read its own start time, so a process of its number may be the one.
  const uint64_t started = process_id >> kPidBits & kStartMask;
  if (started != 0 && started != (stat.start_ticks & kStartMask)) return false;
  // A dead process stays visible until its parent asks. One whose main thread alone has ended
  // looks the same, but still has others.
  const bool ended = stat.state == 'Z' || stat.state == 'X' || stat.state == 'x';
  return !ended || stat.threads > 1;
}

void watch_forks() {
  static const bool kRegistered = [] {
    pthread_atfork(nullptr, nullptr, [] { g_fork_count.fetch_add(1, std::memory_order_relaxed); });
    return true;
  }();
  (void)kRegistered;
}

}  // namespace tenancy
