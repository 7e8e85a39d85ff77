// Helpers for tests about processes and files: a directory that goes away, a child that reports.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>

namespace tenancy::test {

class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "tenancy-test-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  std::string file(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A forked child that runs `fn` and writes what it returns (a string) to its parent.
class Child {
 public:
  template <class Fn>
  explicit Child(Fn&& fn) {
    std::array<int, 2> ends{};
    if (pipe(ends.data()) != 0) std::abort();
    pid_ = fork();
    if (pid_ == 0) {
      close(ends[0]);
      const std::string text = std::forward<Fn>(fn)();
      const bool told =
          write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size());
      _exit(told ? 0 : 1);
    }
    close(ends[1]);
    from_child_ = ends[0];
  }
  ~Child() {
    if (pid_ > 0) join();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // What the child said, once it has ended; "died" when it did not end by itself.
  std::string join() {
    std::string text;
    std::array<char, 4096> buffer{};
    for (ssize_t got = 1; got > 0;) {
      got = read(from_child_, buffer.data(), buffer.size());
      if (got > 0) text.append(buffer.data(), static_cast<size_t>(got));
    }
    close(from_child_);
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? text : "died";
  }

 private:
  pid_t pid_ = -1;
  int from_child_ = -1;
};

}  // namespace tenancy::test
