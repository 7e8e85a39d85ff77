// Victim: a process that is killed in the middle of its work.
#pragma once

#include <fcntl.h>
#include <signal.h>  // NOLINT: kill
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>

#include "catch.h"

namespace tenancy::log::test {

// A child that works until it is killed, and says line by line what was acknowledged.
class Victim {
 public:
  template <class Work>
  explicit Victim(Work&& work) {
    std::array<int, 2> ends{};
    REQUIRE(pipe2(ends.data(), O_CLOEXEC) == 0);
    pid_ = fork();
    if (pid_ == 0) {
      close(ends[0]);
      work(ends[1]);
      _exit(0);
    }
    close(ends[1]);
    from_ = ends[0];
  }
  ~Victim() {
    if (pid_ > 0) (void)kill_and_read();
  }
  Victim(const Victim&) = delete;
  Victim& operator=(const Victim&) = delete;

  // Until it has said that much.
  void wait_for_lines(size_t count) {
    while (lines() < count && read_more()) {
    }
    REQUIRE(lines() >= count);
  }
  std::string kill_and_read() {
    kill(pid_, SIGKILL);
    while (read_more()) {
    }
    close(from_);
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return text_;
  }
  pid_t pid() const { return pid_; }

 private:
  size_t lines() const { return static_cast<size_t>(std::count(text_.begin(), text_.end(), '\n')); }
  bool read_more() {
    std::array<char, 4096> buffer{};
    const ssize_t got = read(from_, buffer.data(), buffer.size());
    if (got > 0) text_.append(buffer.data(), static_cast<size_t>(got));
    return got > 0;
  }

  pid_t pid_ = -1;
  int from_ = -1;
  std::string text_;
};

inline void say(int to, const std::string& line) {
  if (write(to, line.data(), line.size()) != static_cast<ssize_t>(line.size())) _exit(3);
}

}  // namespace tenancy::log::test
