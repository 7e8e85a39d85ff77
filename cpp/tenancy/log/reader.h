// Reader: the durable records of one chain in order, beside a log that is being written.
//
// It reads only what the head says is durable, so whoever copies records elsewhere never copies one
// that a power cut takes back. It checks framing and order, not tags: that is `verify`.
//
// Thread safety: one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "tenancy/base/status.h"
#include "tenancy/log/io.h"
#include "tenancy/log/record.h"

namespace tenancy::log {

class Reader {
 public:
  // `from` may lie ahead of the end; then records come once it is reached. kOutOfRange when the
  // record was pruned, naming the first that is kept.
  static Result<std::unique_ptr<Reader>> open(Files& files, const std::string& log_directory,
                                              Class chain, uint64_t from);
  virtual ~Reader() = default;

  // True and the next record, or false when there is none yet: ask again later. `*view` is valid
  // until the next call. kDamaged names segment and offset; run `verify`.
  virtual Result<bool> next(RecordView* view) = 0;
  // The sequence that `next` gives next.
  virtual uint64_t position() const = 0;
};

}  // namespace tenancy::log
