#include "tenancy/metering/id_index.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <new>

#include "tenancy/base/crypto.h"
#include "tenancy/base/process_id.h"
#include "tenancy/log/bytes.h"

namespace tenancy::metering {
namespace {

using Word = std::atomic<uint64_t>;

constexpr std::string_view kIndexMagic{"TNCYIDC\0", 8};
constexpr uint64_t kIndexVersion = uint64_t{1} << 32;
constexpr size_t kTablesMax = 64;
constexpr int64_t kParts = 8;             // of the window, each a table at most
constexpr unsigned kNamespaceShift = 48;  // of a process id
constexpr std::string_view kTableSuffix = ".ids";
constexpr auto kRelease = std::memory_order_release;

uint64_t word_of(const log::LogId& id, size_t at) {
  return log::get<uint64_t>(log::view_of(id).data() + 8 * at);
}

}  // namespace

// The file `control`: what the processes of one boot share. Worth nothing in another one.
struct IdIndex::Control {
  struct List {
    Word count;
    struct {
      Word number;
      Word slots_log2;
    } tables[kTablesMax];
  };

  Word magic;
  Word version;
  Word boot;
  Word pid_namespace;
  Word log_id[2];
  Word key[2];
  Word window_ns;
  Word ready;  // the maker has finished
  alignas(64) RobustMutex mutex;
  Word behind;
  Word position;
  Word next_number;
  Word list_version;  // its lowest bit says which of the two lists counts
  List lists[2];
};

IdIndex::IdIndex(const Options& options)
    : options_(options),
      boot_(siphash({}, options.clock->boot_id())),
      pid_namespace_(own_process_id() >> kNamespaceShift),
      tables_(std::make_unique<Tables>()) {}

IdIndex::~IdIndex() = default;

Result<std::unique_ptr<IdIndex>> IdIndex::open(const log::Log& log, const Options& options) {
  watch_forks();
  std::unique_ptr<IdIndex> index(new IdIndex(options));
  if (Status status = index->enter(log); !status) return status;
  return index;
}

Status IdIndex::enter(const log::Log& log) {
  log_id_ = log.id();
  forks_ = g_fork_count.load();
  log::Files& files = log::Files::system();
  if (Status status = files.make_directory(options_.directory); !status) return status;
  Result<log::HeldLock> held = log::HeldLock::exclusive(options_.directory + "/lock");
  if (!held) return held.status();
  Result<log::LockFile> users = log::LockFile::open(options_.directory + "/users");
  if (!users) return users.status();
  users_ = std::move(*users);
  const bool alone = users_.try_exclusive();
  if (!alone) {
    if (Status status = users_.shared(); !status) return status;
  }
  Status status = join();
  if (!status && !alone) {
    if (status.error().code == Code::kFull) return status;
    return {Code::kConflict, options_.directory + ": other processes use it, and " +
                                 status.error().message +
                                 "; open it as they do, or end them first"};
  }
  if (!status) status = make(log);
  if (status && alone) status = users_.shared();
  return status;
}

// What is there, of this boot; whole.
Status IdIndex::join() {
  const std::string path = options_.directory + "/control";
  const auto refuse = [&](const char* what) { return Status(Code::kConflict, path + what); };
  if (access(path.c_str(), F_OK) != 0) return refuse(" is missing");
  MappedFile::Options options;
  options.size_bytes = sizeof(Control);
  options.magic = kIndexMagic;
  Result<std::unique_ptr<MappedFile>> file = MappedFile::open(path, options, nullptr);
  if (!file) return file.status();
  auto* const control = std::launder(reinterpret_cast<Control*>((*file)->data()));
  if (control->ready.load(std::memory_order_acquire) != 1) return refuse(" was never finished");
  if (control->version.load() >> 32 != kIndexVersion >> 32) return refuse(" is of another version");
  if (control->boot.load() != boot_) return refuse(" is of another boot");
  if (control->pid_namespace.load() != pid_namespace_) {
    return refuse(" is of another PID namespace");
  }
  if (control->log_id[0].load() != word_of(log_id_, 0) ||
      control->log_id[1].load() != word_of(log_id_, 1)) {
    return refuse(" is of another log");
  }
  if (control->window_ns.load() != static_cast<uint64_t>(options_.window_ns)) {
    return refuse(" has another window");
  }
  file_ = std::move(*file);
  control_ = control;
  key_ = {control->key[0].load(), control->key[1].load()};
  return Lock(*this).status();
}

// Everything from what was settled. Nobody else is there.
Status IdIndex::make(const log::Log& log) {
  auto tables = std::make_unique<Tables>();
  Result<Settled> settled = load(log, tables.get());
  if (!settled) {
    tables->clear();
    Settled fresh;
    if (Status status = begin_anew(&fresh); !status) return status;
    settled = fresh;
  }
  key_ = settled->key;
  if (Status status = clear_leftovers(*tables); !status) return status;
  const std::string path = options_.directory + "/control";
  unlink(path.c_str());
  MappedFile::Options options;
  options.size_bytes = sizeof(Control);
  Result<std::unique_ptr<MappedFile>> file = MappedFile::open(path, options, nullptr);
  if (!file) return file.status();
  file_ = std::move(*file);
  control_ = new (file_->data()) Control{};
  control_->mutex.init();
  control_->boot.store(boot_);
  control_->pid_namespace.store(pid_namespace_);
  control_->window_ns.store(static_cast<uint64_t>(options_.window_ns));
  control_->key[0].store(key_.k0);
  control_->key[1].store(key_.k1);
  for (size_t i = 0; i < 2; ++i) control_->log_id[i].store(word_of(log_id_, i));
  control_->behind.store(1);
  control_->position.store(settled->end);
  std::vector<TableName> names;
  for (const auto& table : *tables) names.push_back({table->number(), table->slots_log2()});
  control_->next_number.store(names.empty() ? 1 : names.back().number + 1);
  publish(names);
  tables_ = std::move(tables);
  version_ = control_->list_version.load();
  control_->version.store(kIndexVersion);
  control_->magic.store(log::get<uint64_t>(kIndexMagic.data()));
  control_->ready.store(1, kRelease);
  return {};
}

// The tables that were settled, as far as they count.
Result<Settled> IdIndex::load(const log::Log& log, Tables* tables) {
  const auto refuse = [&](const std::string& what) {
    return Error{Code::kDamaged, options_.directory + ": " + what};
  };
  constexpr uint64_t kBytesMax = 1 << 20;
  const Result<std::string> bytes =
      log::read_file(log::Files::system(), options_.directory + "/settled", kBytesMax);
  if (!bytes) return bytes.status();
  Result<Settled> settled = Settled::parse(*bytes);
  if (!settled) return settled;
  if (settled->log_id != log_id_) return refuse("of another log");
  if (settled->end > log.position(log::Class::kUsage)) return refuse("ahead of the log");
  if (settled->window_ns < options_.window_ns) return refuse("of a shorter window");
  if (settled->tables.size() > kTablesMax) return refuse("too many tables");
  key_ = settled->key;
  const int64_t now = options_.clock->wall_ns();
  for (const Settled::Table& each : settled->tables) {
    if (each.slots_log2 < kTableLog2Min || each.slots_log2 > kTableLog2Max) {
      return refuse("a table of no valid size");
    }
    Result<std::unique_ptr<IdTable>> table =
        IdTable::open(table_path(each.number), identity(), each.number, each.slots_log2);
    if (!table) {
      // One whose time was over may have gone since.
      const bool over = tables->empty() && now - options_.window_ns >= each.last_ns;
      if (over && table.error().code == Code::kNotFound) continue;
      return table.status();
    }
    tables->push_back(std::move(*table));
  }
  if (!tables->empty()) tables->back()->forget_from(settled->end);
  return settled;
}

// An empty index under a new key.
Status IdIndex::begin_anew(Settled* settled) {
  settled->log_id = log_id_;
  settled->key = {random_u64(), random_u64()};
  settled->window_ns = options_.window_ns;
  return log::replace_file(log::Files::system(), options_.directory, "settled", settled->bytes());
}

Status IdIndex::clear_leftovers(const Tables& kept) const {
  log::Files& files = log::Files::system();
  const Result<std::vector<std::string>> names = files.list(options_.directory);
  if (!names) return names.status();
  for (const std::string& name : *names) {
    if (!name.ends_with(kTableSuffix)) continue;
    const std::string path = options_.directory + "/" + name;
    const bool stays = std::ranges::any_of(
        kept, [&](const auto& table) { return table_path(table->number()) == path; });
    if (stays) continue;
    if (Status status = files.remove(path); !status) return status;
  }
  return {};
}

IdTable::Identity IdIndex::identity() const { return {log_id_, siphash(key_, "tables of ids")}; }

std::string IdIndex::table_path(uint64_t number) const {
  std::string digits = std::to_string(number);
  constexpr size_t kDigits = 12;
  if (digits.size() < kDigits) digits.insert(0, kDigits - digits.size(), '0');
  return options_.directory + "/" + digits + std::string(kTableSuffix);
}

std::vector<IdIndex::TableName> IdIndex::listed() const {
  const Control::List& list = control_->lists[control_->list_version.load() & 1];
  std::vector<TableName> names(std::min<uint64_t>(list.count.load(), kTablesMax));
  for (size_t i = 0; i < names.size(); ++i) {
    names[i].number = list.tables[i].number.load();
    names[i].slots_log2 = static_cast<unsigned>(list.tables[i].slots_log2.load());
  }
  return names;
}

// In the list that does not count, which then does by one store.
void IdIndex::publish(const std::vector<TableName>& names) {
  const uint64_t next = control_->list_version.load() + 1;
  Control::List& list = control_->lists[next & 1];
  for (size_t i = 0; i < names.size(); ++i) {
    list.tables[i].number.store(names[i].number);
    list.tables[i].slots_log2.store(names[i].slots_log2);
  }
  list.count.store(names.size());
  control_->list_version.store(next, kRelease);
}

Status IdIndex::follow() {
  if (forks_ != g_fork_count.load(std::memory_order_relaxed)) {
    // A thread of the parent may have been changing it when this child was forked.
    (void)tables_.release();
    tables_ = std::make_unique<Tables>();
    version_ = 0;
    Result<log::LockFile> users = log::LockFile::open(options_.directory + "/users");
    if (!users) return users.status();
    if (Status status = users->shared(); !status) return status;
    users_ = std::move(*users);
    forks_ = g_fork_count.load();
  }
  const uint64_t version = control_->list_version.load();
  if (version == version_) return {};
  Tables next;
  for (const TableName& name : listed()) {
    const auto mapped = std::ranges::find_if(*tables_, [&](const auto& table) {
      return table != nullptr && table->number() == name.number;
    });
    if (mapped != tables_->end()) {
      next.push_back(std::move(*mapped));
      continue;
    }
    Result<std::unique_ptr<IdTable>> opened =
        IdTable::open(table_path(name.number), identity(), name.number, name.slots_log2);
    if (!opened) {
      version_ = 0;  // what was moved is mapped again next time
      std::erase(*tables_, nullptr);
      return opened.status();
    }
    next.push_back(std::move(*opened));
  }
  *tables_ = std::move(next);
  version_ = version;
  return {};
}

IdIndex::Lock::Lock(IdIndex& index) : index_(index) {
  switch (index.control_->mutex.lock(index.options_.wait_ns)) {
    case RobustMutex::Taken::kTaken: break;
    case RobustMutex::Taken::kFromTheDead:
      // Between its record and the ids, perhaps.
      index.control_->behind.store(1);
      index.control_->mutex.mended();
      break;
    case RobustMutex::Taken::kBusy:
      status_ = {Code::kFull, "the index of usage ids was not free for " +
                                  std::to_string(index.options_.wait_ns / 1'000'000) +
                                  " ms: a process that holds it is stopped, or waits for the log"};
      return;
  }
  held_ = true;
  status_ = index.follow();
}

IdIndex::Lock::~Lock() {
  if (held_) index_.control_->mutex.unlock();
}

bool IdIndex::behind() const { return control_->behind.load() != 0; }

void IdIndex::caught_up(uint64_t position) {
  control_->position.store(position);
  control_->behind.store(0, kRelease);
}

uint64_t IdIndex::position() const { return control_->position.load(); }

void IdIndex::set_position(uint64_t position) { control_->position.store(position, kRelease); }

void IdIndex::prefetch(const Hash128& id) const {
  for (const auto& table : *tables_) table->prefetch(id);
}

void IdIndex::find(const Hash128& id, std::vector<IdEntry>* out) const {
  for (const auto& table : *tables_) table->find(id, out);
}

bool IdIndex::contains(const Hash128& id, Place place) const {
  return std::ranges::any_of(*tables_,
                             [&](const auto& table) { return table->contains(id, place); });
}

void IdIndex::add(const Hash128& id, const IdEntry& entry, int64_t now_ns) {
  IdTable& newest = *tables_->back();
  newest.add(id, entry, std::max(now_ns, newest.last_ns()));
}

Status IdIndex::make_room(size_t entries, int64_t now_ns) {
  expire(now_ns);
  if (tables_->empty()) return begin_table(options_.first_slots_log2);
  const IdTable& newest = *tables_->back();
  if (newest.used() + entries > newest.capacity()) {
    // Few tables lead up to large ones, and none is much larger than what it has to hold: its pages
    // are scattered over memory, and each must be fetched.
    constexpr unsigned kStep = 2;
    return begin_table(std::min(newest.slots_log2() + kStep, kTableLog2Max));
  }
  if (newest.used() == 0 || now_ns - newest.first_ns() < options_.window_ns / kParts) return {};
  // The next part of the time may bring twice as many.
  unsigned slots_log2 = options_.first_slots_log2;
  while (slots_log2 < kTableLog2Max && uint64_t{1} << slots_log2 < newest.used() * 4) ++slots_log2;
  return begin_table(slots_log2);
}

void IdIndex::expire(int64_t now_ns) {
  size_t over = 0;
  while (over < tables_->size() && (*tables_)[over]->used() > 0 &&
         now_ns - options_.window_ns >= (*tables_)[over]->last_ns()) {
    ++over;
  }
  if (over == 0) return;
  std::vector<TableName> names = listed();
  const std::vector<TableName> going(names.begin(), names.begin() + static_cast<ptrdiff_t>(over));
  names.erase(names.begin(), names.begin() + static_cast<ptrdiff_t>(over));
  publish(names);
  version_ = control_->list_version.load();
  tables_->erase(tables_->begin(), tables_->begin() + static_cast<ptrdiff_t>(over));
  for (const TableName& name : going) unlink(table_path(name.number).c_str());
}

Status IdIndex::begin_table(unsigned slots_log2) {
  std::vector<TableName> names = listed();
  if (names.size() == kTablesMax) {
    return {Code::kFull, options_.directory + ": " + std::to_string(kTablesMax) +
                             " tables of ids are full: more events in the window than it can "
                             "hold; open it with a shorter one"};
  }
  const uint64_t number = control_->next_number.load();
  Result<std::unique_ptr<IdTable>> made =
      IdTable::make(table_path(number), identity(), number, slots_log2);
  if (!made) return made.status();
  control_->next_number.store(number + 1);
  names.push_back({number, slots_log2});
  publish(names);
  version_ = control_->list_version.load();
  tables_->push_back(std::move(*made));
  return {};
}

Status IdIndex::settle(log::Log& log) {
  const Result<log::HeldLock> held = log::HeldLock::exclusive(options_.directory + "/lock");
  if (!held) return held.status();
  return settle_alone(log);
}

Status IdIndex::settle_alone(log::Log& log) {
  Settled now;
  now.log_id = log_id_;
  now.key = key_;
  now.window_ns = options_.window_ns;
  {
    const Lock lock(*this);
    if (!lock.status()) return lock.status();
    if (behind()) return {};  // whoever catches up may settle
    now.end = position();
    for (const auto& table : *tables_) {
      now.tables.push_back({table->number(), table->slots_log2(), table->last_ns()});
    }
  }
  // First the records, so that no id is remembered whose record a power cut takes.
  if (Status status = log.flush(log::Ack::kDisk); !status) return status;
  log::Files& files = log::Files::system();
  for (const Settled::Table& table : now.tables) {
    Result<std::unique_ptr<log::File>> file =
        files.open(table_path(table.number), log::OpenMode::kReadWrite);
    if (!file && file.error().code == Code::kNotFound) continue;  // its time was over meanwhile
    if (!file) return file.status();
    if (Status status = (*file)->sync(); !status) return status;
  }
  return log::replace_file(files, options_.directory, "settled", now.bytes());
}

Status IdIndex::close(log::Log& log) {
  if (std::exchange(closed_, true)) return {};
  if (forks_ != g_fork_count.load()) {
    users_.close();  // a child that never used it: the lock is its parent's
    return {};
  }
  Result<log::HeldLock> held = log::HeldLock::exclusive(options_.directory + "/lock");
  if (!held) return held.status();
  const Status status = users_.try_exclusive() ? settle_alone(log) : Status();
  users_.unlock();
  users_.close();
  return status;
}

}  // namespace tenancy::metering
