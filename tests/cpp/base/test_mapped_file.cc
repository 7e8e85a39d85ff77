#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <thread>
#include <vector>

#include "catch.h"
#include "process.h"
#include "tenancy/base/file_system.h"
#include "tenancy/base/mapped_file.h"

using tenancy::Code;
using tenancy::MappedFile;
using tenancy::test::Child;
using tenancy::test::TempDir;

namespace {

constexpr size_t kPage = 65'536;  // a multiple of every page size

std::unique_ptr<MappedFile> must_open(const std::string& path, const MappedFile::Options& options,
                                      bool* created = nullptr) {
  auto file = MappedFile::open(path, options, created);
  INFO((file.ok() ? std::string() : file.error().message));
  REQUIRE(file.ok());
  return std::move(file).value();
}

tenancy::Error must_refuse(const std::string& path, const MappedFile::Options& options) {
  auto file = MappedFile::open(path, options, nullptr);
  REQUIRE_FALSE(file.ok());
  CHECK(file.error().message.find(path) != std::string::npos);
  return file.error();
}

bool is_filled_with(const MappedFile& file, size_t from, size_t to, char byte) {
  for (size_t at = from; at < to; ++at) {
    if (file.data()[at] != static_cast<std::byte>(byte)) return false;
  }
  return true;
}

size_t size_on_disk(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? static_cast<size_t>(info.st_size) : 0;
}

// From now on this process's fallocate fails with `error`, as on a full disk or an old file system.
bool fail_fallocate(int error) {
  std::array<sock_filter, 4> program = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fallocate, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

size_t allocated_on_disk(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? static_cast<size_t>(info.st_blocks) * 512 : 0;
}

}  // namespace

TEST_CASE("a new file is created private, zeroed and allocated") {
  const TempDir dir;
  const std::string path = dir.file("table");
  bool created = false;
  const auto file = must_open(path, {.size_bytes = 3 * kPage}, &created);
  CHECK(created);
  CHECK(file->size_bytes() == 3 * kPage);
  CHECK(file->path() == path);
  CHECK(is_filled_with(*file, 0, 3 * kPage, 0));
  CHECK(allocated_on_disk(path) >= 3 * kPage);
  struct stat info {};
  REQUIRE(stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
}

TEST_CASE("what one opener writes the next one reads, also when it grew") {
  const TempDir dir;
  const std::string path = dir.file("table");
  bool created = true;
  {
    const auto file = must_open(path, {.size_bytes = kPage, .reserve_bytes = 8 * kPage});
    REQUIRE(file->grow(4 * kPage).ok());
    std::memset(file->data(), 'x', 4 * kPage);
  }
  const auto file = must_open(path, {.size_bytes = kPage}, &created);
  CHECK_FALSE(created);
  CHECK(file->size_bytes() == 4 * kPage);
  CHECK(is_filled_with(*file, 0, 4 * kPage, 'x'));
}

TEST_CASE("growing keeps the address and the content, and stops at the reserve") {
  const TempDir dir;
  const auto file = must_open(dir.file("t"), {.size_bytes = kPage, .reserve_bytes = 4 * kPage});
  std::byte* const address = file->data();
  std::memset(file->data(), 'a', kPage);
  REQUIRE(file->grow(2 * kPage).ok());
  REQUIRE(file->grow(kPage).ok());
  CHECK(file->data() == address);
  CHECK(file->size_bytes() == 2 * kPage);
  CHECK(is_filled_with(*file, 0, kPage, 'a'));
  CHECK(is_filled_with(*file, kPage, 2 * kPage, 0));
  const auto refused = file->grow(5 * kPage);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code == Code::kOutOfRange);
  CHECK(file->size_bytes() == 2 * kPage);
}

TEST_CASE("an anonymous file behaves the same without a path") {
  auto opened = MappedFile::anonymous({.size_bytes = kPage, .reserve_bytes = 4 * kPage});
  REQUIRE(opened.ok());
  const auto file = std::move(opened).value();
  CHECK(file->path().empty());
  CHECK(file->size_bytes() == kPage);
  std::memset(file->data(), 'a', kPage);
  REQUIRE(file->grow(4 * kPage).ok());
  CHECK(is_filled_with(*file, 0, kPage, 'a'));
  CHECK(is_filled_with(*file, kPage, 4 * kPage, 0));
  CHECK(file->grow(4 * kPage + 1).error().code == Code::kOutOfRange);
  const MappedFile::Lock lock(*file);
}

TEST_CASE("processes that grow one file side by side lose nothing") {
  const TempDir dir;
  const std::string path = dir.file("table");
  const MappedFile::Options options{.size_bytes = kPage, .reserve_bytes = 64 * kPage};
  const auto file = must_open(path, options);
  std::vector<std::unique_ptr<Child>> children;
  for (size_t i = 0; i < 4; ++i) {
    children.push_back(std::make_unique<Child>([&, i] {
      // Two inherit the mapping, two make their own.
      std::unique_ptr<MappedFile> own;
      if (i % 2 == 1) own = std::move(MappedFile::open(path, options, nullptr)).value();
      MappedFile& mine = own ? *own : *file;
      for (size_t page = i; page < 64; page += 4) {
        if (!mine.grow((page + 1) * kPage).ok()) return std::string("cannot grow");
        std::memset(mine.data() + page * kPage, static_cast<int>('a' + i), kPage);
      }
      return std::string("done");
    }));
  }
  for (auto& child : children) CHECK(child->join() == "done");
  REQUIRE(file->grow(64 * kPage).ok());
  for (size_t page = 0; page < 64; ++page) {
    REQUIRE(
        is_filled_with(*file, page * kPage, (page + 1) * kPage, static_cast<char>('a' + page % 4)));
  }
}

TEST_CASE("threads may grow one object") {
  const TempDir dir;
  const auto file = must_open(dir.file("t"), {.size_bytes = kPage, .reserve_bytes = 64 * kPage});
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (size_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (size_t page = i; page < 64; page += 4) {
        if (!file->grow((page + 1) * kPage).ok()) ++failures;
        std::memset(file->data() + page * kPage, 'x', kPage);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(failures == 0);
  CHECK(is_filled_with(*file, 0, 64 * kPage, 'x'));
}

TEST_CASE("of many processes that open an absent file exactly one created it") {
  const TempDir dir;
  for (int round = 0; round < 10; ++round) {
    const std::string path = dir.file("t" + std::to_string(round));
    std::vector<std::unique_ptr<Child>> children;
    for (int i = 0; i < 4; ++i) {
      children.push_back(std::make_unique<Child>([&] {
        bool created = false;
        const auto file = MappedFile::open(path, {.size_bytes = kPage}, &created);
        return std::string(!file.ok() ? "failed" : created ? "1" : "");
      }));
    }
    std::string creators;
    for (auto& child : children) creators += child->join();
    CHECK(creators == "1");
  }
}

TEST_CASE("the lock excludes threads, forked children and other processes") {
  const TempDir dir;
  const std::string path = dir.file("t");
  const auto file = must_open(path, {.size_bytes = kPage});
  // A counter that loses updates unless whoever changes it is alone. Atomic because a sanitizer
  // does not know that the kernel's lock orders the accesses.
  using Counter = std::atomic<uint64_t>;
  auto* const counter = new (file->data()) Counter(0);
  const auto work = [](const MappedFile& mine) {
    auto* const at = reinterpret_cast<Counter*>(mine.data());
    for (int i = 0; i < 200; ++i) {
      const MappedFile::Lock lock(mine);
      const uint64_t seen = at->load(std::memory_order_relaxed);
      std::this_thread::yield();
      at->store(seen + 1, std::memory_order_relaxed);
    }
    return std::string("done");
  };
  Child inherits([&] { return work(*file); });
  Child opens([&] {
    const auto mine = std::move(MappedFile::open(path, {.size_bytes = kPage}, nullptr)).value();
    return work(*mine);
  });
  std::thread other([&] { work(*file); });
  work(*file);
  other.join();
  CHECK(inherits.join() == "done");
  CHECK(opens.join() == "done");
  CHECK(*counter == 4 * 200);
}

TEST_CASE("the lock of a holder that died is free") {
  const TempDir dir;
  const auto file = must_open(dir.file("t"), {.size_bytes = kPage});
  Child child([&] {
    const MappedFile::Lock lock(*file);
    kill(getpid(), SIGKILL);
    return std::string("alive");
  });
  CHECK(child.join() == "died");
  const MappedFile::Lock lock(*file);
}

TEST_CASE("a read-only opening inspects, creates nothing and grows nothing") {
  const TempDir dir;
  const std::string path = dir.file("t");
  CHECK(must_refuse(path, {.read_only = true}).code == Code::kNotFound);
  CHECK_FALSE(std::filesystem::exists(path));
  std::ofstream(path) << "hello";
  chmod(path.c_str(), 0400);
  const auto file = must_open(path, {.read_only = true});
  CHECK(file->size_bytes() == 5);
  CHECK(std::memcmp(file->data(), "hello", 5) == 0);
  CHECK(file->grow(kPage).error().code == Code::kPermission);
  CHECK(must_refuse(path, {.size_bytes = 6, .read_only = true}).code == Code::kDamaged);
}

TEST_CASE("a file with another magic is refused before anything changes") {
  const TempDir dir;
  const std::string path = dir.file("t");
  std::ofstream(path) << "\x7f"
                      << "ELF and so on";
  const auto error = must_refuse(path, {.size_bytes = kPage, .magic = "TNCYTEST"});
  CHECK(error.code == Code::kForeign);
  CHECK(error.message.find("?ELF and") != std::string::npos);
  CHECK(size_on_disk(path) == 14);
  std::ofstream(path, std::ios::trunc) << "TNCY";  // shorter than the magic itself
  CHECK(must_refuse(path, {.size_bytes = kPage, .magic = "TNCYTEST"}).code == Code::kForeign);
  std::ofstream(path, std::ios::trunc) << "TNCYTEST and more";
  must_open(path, {.size_bytes = kPage, .magic = "TNCYTEST"});
}

TEST_CASE("what is no regular file of this user alone is refused") {
  const TempDir dir;
  const MappedFile::Options options{.size_bytes = kPage};
  const std::string path = dir.file("t");

  SECTION("a directory") {
    std::filesystem::create_directory(path);
    CHECK(must_refuse(path, options).code == Code::kForeign);
    CHECK(must_refuse(path, {.read_only = true}).code == Code::kForeign);
  }
  SECTION("a FIFO, without waiting for its other end") {
    REQUIRE(mkfifo(path.c_str(), 0600) == 0);
    CHECK(must_refuse(path, options).code == Code::kForeign);
    CHECK(must_refuse(path, {.read_only = true}).code == Code::kForeign);
  }
  SECTION("a symbolic link") {
    std::ofstream(dir.file("real")) << "real";
    std::filesystem::create_symlink(dir.file("real"), path);
    CHECK(must_refuse(path, options).code == Code::kPermission);
    CHECK(size_on_disk(dir.file("real")) == 4);
  }
  SECTION("a missing directory") {
    CHECK(must_refuse(dir.file("no/such/t"), options).code == Code::kNotFound);
  }
  SECTION("a file that others may write") {
    std::ofstream(path) << "x";
    chmod(path.c_str(), 0620);
    const auto error = must_refuse(path, options);
    CHECK(error.code == Code::kPermission);
    CHECK(error.message.find("chmod 600") != std::string::npos);
    chmod(path.c_str(), 0600);
    must_open(path, options);
  }
}

TEST_CASE("another user's file, and a directory one may not write, are refused") {
  if (geteuid() != 0) {
    SUCCEED("needs root to become somebody else");
    return;
  }
  const TempDir dir;
  chmod(dir.path().c_str(), 0755);
  const std::string path = dir.file("t");
  std::ofstream(path) << "x";
  chmod(path.c_str(), 0644);
  Child nobody([&] {
    if (setuid(65534) != 0) return std::string("cannot become nobody");
    const auto absent = MappedFile::open(dir.file("new"), {.size_bytes = kPage}, nullptr);
    const auto owned = MappedFile::open(path, {.read_only = true}, nullptr);
    if (absent.ok() || owned.ok()) return std::string("opened");
    return std::string(tenancy::code_name(absent.error().code)) + "\n" + absent.error().message +
           "\n" + std::string(tenancy::code_name(owned.error().code)) + "\n" +
           owned.error().message;
  });
  const std::string said = nobody.join();
  INFO(said);
  CHECK(said.find("PERMISSION\n" + dir.file("new") + ": ") == 0);
  CHECK(said.find("must be readable and writable by user 65534") != std::string::npos);
  CHECK(said.find("PERMISSION\n" + path + ": owned by user 0, expected user 65534") !=
        std::string::npos);

  // root inspects, but does not write into what belongs to somebody else.
  REQUIRE(chown(path.c_str(), 65534, 65534) == 0);
  must_open(path, {.read_only = true});
  CHECK(must_refuse(path, {.size_bytes = kPage}).code == Code::kPermission);
}

TEST_CASE("a limit on file size is a clear error at open and at grow, never a signal") {
  const TempDir dir;
  Child limited([&] {
    const rlimit limit{2 * kPage, 2 * kPage};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return std::string("setrlimit");
    auto refused = MappedFile::open(dir.file("a"), {.size_bytes = 4 * kPage}, nullptr);
    if (refused.ok() || refused.error().code != Code::kFull) return std::string("open");
    auto file =
        MappedFile::open(dir.file("b"), {.size_bytes = kPage, .reserve_bytes = 4 * kPage}, nullptr);
    if (!file.ok()) return file.error().message;
    const auto grown = (*file)->grow(3 * kPage);
    if (grown.ok() || grown.error().code != Code::kFull) return std::string("grow");
    if ((*file)->size_bytes() != kPage) return std::string("size");
    return grown.error().message;
  });
  const std::string said = limited.join();
  CHECK(said.find(dir.file("b") + ": no room for " + std::to_string(3 * kPage) + " bytes") == 0);
  CHECK(size_on_disk(dir.file("a")) == 0);
}

TEST_CASE("a full disk is a clear error that leaves the file as it was") {
  for (const int error : {ENOSPC, EDQUOT}) {
    const TempDir dir;
    const std::string path = dir.file("t");
    Child child([&] {
      auto file =
          MappedFile::open(path, {.size_bytes = kPage, .reserve_bytes = 4 * kPage}, nullptr);
      if (!file.ok()) return file.error().message;
      std::memset((*file)->data(), 'x', kPage);
      if (!fail_fallocate(error)) return std::string("skip");
      const auto grown = (*file)->grow(3 * kPage);
      if (grown.ok() || grown.error().code != Code::kFull) return std::string("grow");
      if ((*file)->size_bytes() != kPage) return std::string("size after grow");
      const auto again = MappedFile::open(path, {.size_bytes = 4 * kPage}, nullptr);
      if (again.ok() || again.error().code != Code::kFull) return std::string("open");
      const auto fresh = MappedFile::open(dir.file("u"), {.size_bytes = 4 * kPage}, nullptr);
      if (fresh.ok() || fresh.error().code != Code::kFull) return std::string("open new");
      return grown.error().message;
    });
    const std::string said = child.join();
    if (said == "skip") {
      SUCCEED("needs seccomp filters");
      return;
    }
    CHECK(said.find(path + ": no room for " + std::to_string(3 * kPage) + " bytes") == 0);
    CHECK(size_on_disk(path) == kPage);
    CHECK(size_on_disk(dir.file("u")) == 0);
    CHECK(is_filled_with(*must_open(path, {.size_bytes = kPage}), 0, kPage, 'x'));
  }
}

TEST_CASE("a file system that cannot allocate gets real zeros, appended") {
  const TempDir dir;
  const std::string path = dir.file("t");
  const std::string sparse = dir.file("sparse");
  std::ofstream(sparse) << "";
  REQUIRE(truncate(sparse.c_str(), 16 * kPage) == 0);
  Child child([&] {
    if (!fail_fallocate(EOPNOTSUPP)) return std::string("skip");
    auto file = MappedFile::open(path, {.size_bytes = kPage, .reserve_bytes = 8 * kPage}, nullptr);
    if (!file.ok()) return file.error().message;
    std::memset((*file)->data(), 'x', kPage);
    if (const auto grown = (*file)->grow(5 * kPage); !grown.ok()) return grown.error().message;
    std::memset((*file)->data() + 4 * kPage, 'y', kPage);
    const auto holes = MappedFile::open(sparse, {.size_bytes = kPage}, nullptr);
    if (holes.ok()) return std::string("opened with holes");
    return std::string(tenancy::code_name(holes.error().code));
  });
  const std::string said = child.join();
  if (said == "skip") {
    SUCCEED("needs seccomp filters");
    return;
  }
  CHECK(said == "UNSUPPORTED");
  const auto file = must_open(path, {.size_bytes = kPage});
  CHECK(file->size_bytes() == 5 * kPage);
  CHECK(is_filled_with(*file, 0, kPage, 'x'));
  CHECK(is_filled_with(*file, kPage, 4 * kPage, 0));
  CHECK(is_filled_with(*file, 4 * kPage, 5 * kPage, 'y'));
}

TEST_CASE("a size beyond what the file system can hold is a clear error") {
  const TempDir dir;
  const std::string path = dir.file("t");
  CHECK(must_refuse(path, {.size_bytes = size_t{1} << 62}).code == Code::kFull);
  CHECK(size_on_disk(path) == 0);
}

TEST_CASE("holes of a sparse copy are filled at open") {
  const TempDir dir;
  const std::string path = dir.file("t");
  std::ofstream(path) << "";
  REQUIRE(truncate(path.c_str(), 16 * kPage) == 0);
  bool created = true;
  must_open(path, {.size_bytes = kPage}, &created);
  CHECK_FALSE(created);
  CHECK(allocated_on_disk(path) >= 16 * kPage);
}

TEST_CASE("network file systems are known by their number") {
  for (const int64_t magic : {0x6969LL, 0x517BLL, 0xFE534D42LL, 0xFF534D42LL, 0x00C36400LL,
                              0x01021997LL, 0x0BD00BD0LL, 0x5346414FLL}) {
    CHECK(tenancy::is_network_filesystem(magic));
  }
  // As architectures with a signed 32-bit f_type report SMB2.
  CHECK(tenancy::is_network_filesystem(static_cast<int32_t>(0xFE534D42U)));
  for (const int64_t magic : {0xEF53LL, 0x01021994LL, 0x58465342LL, 0x9123683ELL, 0x794C7630LL,
                              0x65735546LL, 0x2FC12FC1LL, 0LL}) {
    CHECK_FALSE(tenancy::is_network_filesystem(magic));
  }
}

TEST_CASE("FUSE is judged by its subtype in the mount table") {
  const std::string mounts =
      "22 1 0:21 / /sys rw - sysfs sysfs rw\n"
      "36 22 0:45 / /mnt/far rw,nosuid shared:7 master:2 - fuse.sshfs host:/data rw,user_id=0\n"
      "40 22 0:46 / / rw - fuse.fuse-overlayfs fuse-overlayfs rw\n"
      "cut off";
  using tenancy::is_network_fuse_type;
  using tenancy::mount_type_of_device;
  CHECK(mount_type_of_device(mounts, 0, 45) == "fuse.sshfs");
  CHECK(mount_type_of_device(mounts, 0, 46) == "fuse.fuse-overlayfs");
  CHECK(mount_type_of_device(mounts, 0, 47).empty());
  CHECK(is_network_fuse_type("fuse.sshfs"));
  CHECK(is_network_fuse_type("fuse.glusterfs"));
  CHECK_FALSE(is_network_fuse_type("fuse.fuse-overlayfs"));
  CHECK_FALSE(is_network_fuse_type("fuseblk"));
  CHECK_FALSE(is_network_fuse_type(""));
}
