// Step: where a test may look at, stop or reorder the accesses of the counter table. Internal.
//
// The protocol is a template over a class with `static void at(Point)`, called before every access
// to shared memory that another process could fall in between. The product uses NoStep, which
// compiles to nothing; tests bring their own. `yield` lets others run where that saves work.
#pragma once

#include <cstdint>
#include <thread>

namespace tenancy::counters {

enum class Point : uint8_t {
  kPin,           // count this process in
  kLoadCurrent,   // read which generation is current
  kLoadNext,      // read whether it is being moved
  kProbe,         // read a key word
  kCountIn,       // reserve room for a key
  kInsertKey,     // write a key word
  kCloseKey,      // make an empty key word dead
  kFreeze,        // freeze a state word
  kDecide,        // copy or drop
  kCopyWord,      // write a word of the copy
  kMarkMoved,     // say that the slot is moved
  kNextChunk,     // say that the chunk is moved
  kSwitch,        // make the next generation current
  kReserveBlock,  // take a block
  kReleaseBlock,  // find that a block is no longer in use
  kAppendBlock,   // make a new block
  kLink,          // publish a generation as the next one
  kReadHolders,   // look whether somebody is still inside
  kAdvanceEpoch,  // say that nobody is
  kTake,          // what the owner of a slot does with it
};

struct NoStep {
  static void at(Point) {}
  static void yield() { std::this_thread::yield(); }
};

}  // namespace tenancy::counters
