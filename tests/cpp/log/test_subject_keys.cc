// The file of subjects' keys: shared, killed, full, torn.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "faulty_files.h"
#include "rig.h"
#include "tenancy/log/bytes.h"
#include "tenancy/log/subject_keys.h"
#include "victim.h"

using namespace tenancy;
using namespace tenancy::log;
using namespace tenancy::log::test;

namespace {

constexpr LogId kLogId{1, 2, 3};

std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

SubjectSlot live(SubjectKeys& keys, std::optional<std::string_view> tenant,
                 std::string_view subject) {
  const Result<SubjectSlot> slot = keys.live(tenant, subject);
  if (!slot) FAIL(slot.error().message);
  return *slot;
}

void erase(SubjectKeys& keys, const SubjectKeyId& id) {
  SubjectSlot erased;
  erased.id = id;
  erased.state = SubjectState::kErased;
  erased.sequence = 5;
  REQUIRE(keys.set(erased).ok());
}

}  // namespace

TEST_CASE("a subject has one key of its own, in each tenant another") {
  const TempDir directory;
  SubjectKeys keys(Files::system(), directory.path(), kLogId);
  CHECK(keys.find("acme", "ada").error().code == Code::kNotFound);
  CHECK_FALSE(std::filesystem::exists(keys.path()));  // looking makes nothing
  const SubjectSlot ada = live(keys, "acme", "ada");
  CHECK(live(keys, "acme", "ada").id == ada.id);
  CHECK(live(keys, "acme", "ada").key == ada.key);
  std::set<SubjectKeyId> ids = {ada.id};
  std::set<AesKey> secrets = {ada.key};
  for (const auto& tenant : std::vector<std::optional<std::string_view>>{"", {}, "acm"}) {
    const SubjectSlot other = live(keys, tenant, tenant == "acm" ? "eada" : "ada");
    CHECK(ids.insert(other.id).second);
    CHECK(secrets.insert(other.key).second);
  }
  CHECK(content(keys.path()).find("ada") == std::string::npos);  // the file names nobody
  CHECK(content(keys.path()).size() == 5 * kSubjectSlotBytes);
}

TEST_CASE("an erased key is gone for every process from the next use on") {
  const TempDir directory;
  SubjectKeys one(Files::system(), directory.path(), kLogId);
  SubjectKeys other(Files::system(), directory.path(), kLogId);
  const SubjectSlot ada = live(one, "acme", "ada");
  CHECK(live(other, "acme", "ada").id == ada.id);
  erase(other, ada.id);
  CHECK(one.find("acme", "ada").error().code == Code::kNotFound);
  CHECK(one.find(ada.id)->state == SubjectState::kErased);
  CHECK(one.find(ada.id)->key == AesKey{});
  CHECK(content(one.path()).find(view_of(ada.key)) == std::string::npos);
  CHECK(content(one.path()).find(as_view(ada.name)) == std::string::npos);
  const SubjectSlot again = live(one, "acme", "ada");
  CHECK(again.id != ada.id);
  CHECK(live(other, "acme", "ada").id == again.id);
}

TEST_CASE("the file grows, and is read by who comes later") {
  const TempDir directory;
  SubjectKeys keys(Files::system(), directory.path(), kLogId);
  SubjectKeys early(Files::system(), directory.path(), kLogId);
  std::vector<SubjectKeyId> ids;
  for (int i = 0; i < 20'000; ++i) ids.push_back(live(keys, "t", std::to_string(i)).id);
  SubjectKeys late(Files::system(), directory.path(), kLogId);
  for (const int i : {0, 1, 8191, 8192, 19'999}) {
    CHECK(live(late, "t", std::to_string(i)).id == ids[static_cast<size_t>(i)]);
    CHECK(live(early, "t", std::to_string(i)).id == ids[static_cast<size_t>(i)]);
  }
  CHECK(content(keys.path()).size() == 20'001 * kSubjectSlotBytes);
}

TEST_CASE("processes that meet the same subjects at once agree on their keys") {
  const TempDir directory;
  std::vector<std::unique_ptr<Child>> children;
  for (int child = 0; child < 4; ++child) {
    children.push_back(std::make_unique<Child>([&] {
      SubjectKeys keys(Files::system(), directory.path(), kLogId);
      std::string ids;
      for (int i = 0; i < 300; ++i) {
        const Result<SubjectSlot> slot = keys.live("t", std::to_string(i));
        if (!slot) return slot.error().message;
        ids += hex(slot->id);
      }
      return ids;
    }));
  }
  const std::string first = children[0]->join();
  CHECK(first.size() == 300 * 32);
  for (size_t i = 1; i < children.size(); ++i) CHECK(children[i]->join() == first);
  CHECK(content(directory.path() + "/subjects").size() == 301 * kSubjectSlotBytes);
}

TEST_CASE("a process that is killed leaves whole keys only") {
  const TempDir directory;
  std::map<std::string, std::string> told;
  for (int round = 0; round < 12; ++round) {
    Victim victim([&](int to) {
      SubjectKeys keys(Files::system(), directory.path(), kLogId);
      for (int i = 0;; ++i) {
        const std::string name = std::to_string(round) + "." + std::to_string(i);
        const Result<SubjectSlot> slot = keys.live("t", name);
        if (!slot) _exit(2);
        say(to, name + " " + hex(slot->id) + "\n");
      }
    });
    victim.wait_for_lines(static_cast<size_t>(1 + 7 * round));
    std::string line;
    for (const char c : victim.kill_and_read()) {
      if (c != '\n') {
        line += c;
        continue;
      }
      told[line.substr(0, line.find(' '))] = line.substr(line.find(' ') + 1);
      line.clear();
    }
  }
  SubjectKeys keys(Files::system(), directory.path(), kLogId);
  for (const auto& [name, id] : told) REQUIRE(hex(live(keys, "t", name).id) == id);
  const std::string bytes = content(keys.path());
  for (size_t at = kSubjectSlotBytes; at < bytes.size(); at += kSubjectSlotBytes) {
    REQUIRE(SubjectSlot::parse(std::string_view(bytes).substr(at, kSubjectSlotBytes)));
  }
}

TEST_CASE("a full disk makes no key, and a part of one is written over") {
  const TempDir directory;
  FaultyFiles files;
  REQUIRE(files.make_directory(directory.path()).ok());
  SubjectKeys keys(files, directory.path(), kLogId);
  const SubjectSlot ada = live(keys, "t", "ada");
  files.set_fault([](const FaultyFiles::Call& call, size_t) -> std::optional<Error> {
    if (call.op == FaultyFiles::Op::kWrite) return Error{Code::kFull, "no space"};
    return std::nullopt;
  });
  CHECK(keys.live("t", "bob").error().code == Code::kFull);
  CHECK(live(keys, "t", "ada").id == ada.id);
  files.set_fault({});
  SubjectKeys other(files, directory.path(), kLogId);
  CHECK(live(other, "t", "ada").id == ada.id);
  const SubjectSlot bob = live(other, "t", "bob");
  CHECK(live(keys, "t", "bob").id == bob.id);
  CHECK(files.content(keys.path()).size() == 3 * kSubjectSlotBytes);
}

TEST_CASE("what was synced survives a power cut, also after a sync that failed") {
  const TempDir directory;
  FaultyFiles files;
  REQUIRE(files.make_directory(directory.path()).ok());
  SubjectKeys keys(files, directory.path(), kLogId);
  const SubjectSlot ada = live(keys, "t", "ada");
  REQUIRE(keys.sync().ok());
  const SubjectSlot bob = live(keys, "t", "bob");
  bool failed = false;
  files.set_fault([&](const FaultyFiles::Call& call, size_t) -> std::optional<Error> {
    if (call.op != FaultyFiles::Op::kSync || failed) return std::nullopt;
    failed = true;
    return Error{Code::kIo, "the disk failed"};
  });
  REQUIRE_FALSE(keys.sync().ok());
  const auto before = files.after_power_cut(files.operations(), FaultyFiles::Keep::kNothing, 1);
  SubjectKeys lost(*before, directory.path(), kLogId);
  CHECK(live(lost, "t", "ada").id == ada.id);
  CHECK(lost.find("t", "bob").error().code == Code::kNotFound);
  REQUIRE(keys.sync().ok());
  const auto after = files.after_power_cut(files.operations(), FaultyFiles::Keep::kNothing, 1);
  SubjectKeys kept(*after, directory.path(), kLogId);
  CHECK(live(kept, "t", "bob").id == bob.id);
  CHECK(files.misuses() == 0);
}

TEST_CASE("a file of other keys, or none of ours, is refused by name") {
  const TempDir directory;
  SubjectKeys keys(Files::system(), directory.path(), kLogId);
  (void)live(keys, "t", "ada");
  SubjectKeys others(Files::system(), directory.path(), LogId{9});
  const Result<SubjectSlot> refused = others.live("t", "ada");
  CHECK(refused.error().code == Code::kForeign);
  CHECK(refused.error().message.find(keys.path()) != std::string::npos);
  std::ofstream(keys.path(), std::ios::binary) << std::string(300, 'x');
  SubjectKeys damaged(Files::system(), directory.path(), kLogId);
  CHECK(damaged.live("t", "ada").error().code == Code::kForeign);
}
