// A log as the writer leaves it, in memory, with the tools of somebody who tampers with it.
#pragma once

#include <stdlib.h>  // NOLINT: mkdtemp

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "catch.h"
#include "memory_files.h"
#include "tenancy/base/clock.h"
#include "tenancy/log/bytes.h"
#include "tenancy/log/checkpoint.h"
#include "tenancy/log/log.h"
#include "tenancy/log/store.h"
#include "tenancy/log/verify.h"

namespace tenancy::log {

constexpr int64_t kStartNs = 1'700'000'000'000'000'000;
constexpr int64_t kSecond = 1'000'000'000;

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string path = (std::filesystem::temp_directory_path() / "tenancy-log-XXXXXX").string();
    REQUIRE(mkdtemp(path.data()) != nullptr);
    path_ = path;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

struct Place {
  uint64_t offset = 0;
  uint64_t bytes = 0;
  uint64_t sequence = 0;
};

// Files of one data directory that was written and closed.
struct Sample {
  std::string root;
  MemoryFiles files;

  std::string path(const std::string& name) const { return root + "/log/" + name; }
  std::string& file(const std::string& name) { return files.content.at(path(name)); }
  void remove(const std::string& name) { files.content.erase(path(name)); }

  VerifyOptions options(std::vector<std::string> anchors = {}) const {
    VerifyOptions out;
    out.log_directory = root + "/log";
    out.key_path = root + "/keys/log.verify";
    out.anchors = std::move(anchors);
    return out;
  }
  Report verify(std::vector<std::string> anchors = {}) {
    return log::verify(files, options(std::move(anchors)));
  }
  EpochKey key() { return read_key(files, root + "/keys/log.verify")->key; }
  std::string note() { return *last_note(files, root + "/log"); }

  std::vector<std::string> segments(Class chain) {
    std::vector<std::string> out;
    const auto names = files.list(root + "/log/segments");
    for (const std::string& name : *names) {
      const auto parsed = parse_segment_name(name);
      if (parsed && parsed->chain == chain) out.push_back("segments/" + name);
    }
    return out;
  }
  // Records of a segment up to the first place where none is.
  std::vector<Place> places(const std::string& name) {
    std::vector<Place> out;
    const std::string& bytes = file(name);
    uint64_t at = kSegmentHeaderBytes;
    RecordView view;
    while (at < bytes.size() &&
           RecordView::parse(std::string_view(bytes).substr(at), &view) == Framing::kRecord) {
      out.push_back({at, view.size(), view.sequence()});
      at += view.size();
    }
    return out;
  }
  RecordView view(const std::string& name, const Place& place) {
    RecordView out;
    const std::string_view bytes = std::string_view(file(name)).substr(place.offset);
    REQUIRE(RecordView::parse(bytes, &out) == Framing::kRecord);
    return out;
  }
  // Somebody without the key can always make checksums right.
  void fix_crc(const std::string& name, uint64_t offset, uint64_t bytes) {
    std::string& content = file(name);
    put(content.data() + offset + bytes - 4,
        crc32c(std::string_view(content).substr(offset, bytes - 4)));
  }
  // Somebody who has a key can do more.
  void seal_record(const std::string& name, const Place& place, const HmacKey& key) {
    std::string& content = file(name);
    const Digest256 tag = key.mac(std::string_view(content).substr(place.offset, place.bytes - 36));
    content.replace(place.offset + place.bytes - 36, 32, as_view(tag));
    fix_crc(name, place.offset, place.bytes);
  }
  void seal_block(const std::string& name, uint64_t offset, uint64_t bytes, const HmacKey& key) {
    std::string& content = file(name);
    const Digest256 mac = key.mac(std::string_view(content).substr(offset, bytes - 36));
    content.replace(offset + bytes - 36, 32, as_view(mac));
    fix_crc(name, offset, bytes);
  }
};

struct SampleOptions {
  size_t events = 220;
  size_t filler_bytes = 900;
  size_t checkpoint_every = 60;
  size_t rotate_every = 70;
  bool close = true;
  size_t tail = 5;  // events behind the last checkpoint
};

// One process' events of four tenants in all chains; several segments, epochs and checkpoints.
inline Sample make_sample(const SampleOptions& wanted = {}) {
  const TemporaryDirectory directory;
  const auto clock = std::make_shared<FakeClock>(kStartNs);
  Options options;
  options.directory = directory.path();
  options.host = "host-1";
  options.shared = false;
  options.background = false;
  options.segment_bytes = 65536;
  options.ring_bytes = 4U << 20;
  options.clock = clock;
  auto opened = Log::open(options);
  REQUIRE(opened.ok());
  Log& log = **opened;
  const std::string filler(wanted.filler_bytes, 'f');
  const std::string_view tenants[] = {"ten_a", "ten_b", "ten_c", ""};
  const auto append = [&](size_t i, Class chain) {
    const std::string id = "doc-" + std::to_string(i);
    const Field fields[] = {{FieldId::kType, Value::text("data_read"), {}},
                            {FieldId::kAction, Value::text("doc:read"), {}},
                            {FieldId::kResourceId, Value::text(id), {}},
                            {FieldId::kResult, Value::text("success"), {}},
                            {FieldId::kReason, Value::null(), {}},
                            {FieldId::kSource, Value::text(""), {}},
                            {FieldId::kNamed, Value::boolean(true), "cached"},
                            {FieldId::kNamed, Value::text(filler), "filler"}};
    Entry entry;
    entry.chain = chain;
    if (i % 5 != 4) entry.tenant = tenants[i % 5];
    entry.fields = fields;
    REQUIRE(log.append(entry).ok());
    clock->advance(kSecond);
  };
  for (size_t i = 0; i < wanted.events; ++i) {
    append(i, Class::kAccess);
    if (i % 20 == 0) append(i, static_cast<Class>(i / 20 % 4));
    if (i % wanted.rotate_every == wanted.rotate_every - 1) REQUIRE(log.rotate().ok());
    if (i % wanted.checkpoint_every == wanted.checkpoint_every - 1) {
      REQUIRE(log.checkpoint().ok());
    }
    if (i % 16 == 0) REQUIRE(log.flush(Ack::kDisk).ok());
  }
  REQUIRE(log.checkpoint().ok());
  for (size_t i = 0; i < wanted.tail; ++i) append(i, Class::kAccess);
  if (wanted.close) {
    REQUIRE(log.close().ok());
  } else {
    REQUIRE(log.flush(Ack::kDisk).ok());
  }
  return {directory.path(), MemoryFiles::load(directory.path())};
}

}  // namespace tenancy::log
