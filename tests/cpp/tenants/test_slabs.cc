// Memory for the entries of registries.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "catch.h"
#include "tenancy/tenants/slabs.h"

namespace tenancy::tenants {
namespace {

// A block full of its own number, so that two that overlap spoil one another.
struct Block {
  unsigned char* bytes;
  size_t size;
  unsigned char mark;
};

Block filled(size_t size, unsigned char mark) {
  auto* bytes = static_cast<unsigned char*>(slab_allocate(size));
  std::memset(bytes, mark, size);
  return {bytes, size, mark};
}

bool intact(const Block& block) {
  for (size_t i = 0; i < block.size; ++i) {
    if (block.bytes[i] != block.mark) return false;
  }
  return true;
}

TEST_CASE("blocks of any size, small and beyond a slab's, do not overlap") {
  std::vector<Block> blocks;
  for (int round = 0; round < 300; ++round) {
    for (const size_t size : {1u, 63u, 64u, 65u, 200u, 1'040u, 4'096u, 4'097u, 70'000u}) {
      blocks.push_back(filled(size, static_cast<unsigned char>(blocks.size() * 7)));
    }
    if (round % 3 != 0) continue;
    for (size_t i = 0; i < blocks.size(); i += 5) {  // freed ones are used again
      REQUIRE(intact(blocks[i]));
      slab_free(blocks[i].bytes, blocks[i].size);
      blocks[i] = filled(blocks[i].size, static_cast<unsigned char>(i));
    }
  }
  for (const Block& block : blocks) {
    CHECK(intact(block));
    slab_free(block.bytes, block.size);
  }
}

TEST_CASE("shared objects live in slabs and are destroyed like others") {
  const auto text = std::make_shared<std::string>("watched");
  {
    auto first = make_in_slab<std::pair<std::shared_ptr<std::string>, int>>(text, 7);
    const auto second = first;
    CHECK(second->second == 7);
    CHECK(text.use_count() == 2);
  }
  CHECK(text.use_count() == 1);
}

TEST_CASE("threads allocate, and free what others allocated") {
  std::vector<std::vector<Block>> made(4);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < made.size(); ++t) {
    threads.emplace_back([&made, t] {
      for (int i = 0; i < 2'000; ++i) {
        made[t].push_back(filled(static_cast<size_t>(1 + i % 600), static_cast<unsigned char>(t)));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  threads.clear();
  std::vector<int> spoilt(made.size());
  for (size_t t = 0; t < made.size(); ++t) {
    threads.emplace_back([&made, &spoilt, t] {
      for (const Block& block : made[(t + 1) % made.size()]) {
        spoilt[t] += intact(block) ? 0 : 1;
        slab_free(block.bytes, block.size);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(spoilt == std::vector<int>(made.size()));
}

TEST_CASE("a child forked in the middle of other threads' allocations allocates") {
  std::atomic<bool> done{false};
  std::thread busy([&done] {
    while (!done.load()) slab_free(slab_allocate(500), 500);
  });
  for (int i = 0; i < 50; ++i) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      alarm(60);  // one that waits for ever ends by the signal
      slab_free(slab_allocate(500), 500);
      _exit(0);
    }
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
  }
  done = true;
  busy.join();
}

}  // namespace
}  // namespace tenancy::tenants
