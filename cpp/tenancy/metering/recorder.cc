#include "tenancy/metering/recorder.h"

#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <array>

namespace tenancy::metering {
namespace {

constexpr size_t kAhead = 8;  // events whose places in the index are fetched before they are needed
constexpr size_t kTogether = 64;  // events whose hashes are made at once

}  // namespace

void Recorder::begin(const UsageColumns& columns) {
  columns_ = &columns;
  const auto hash_all = [this](const TextColumn& column, std::vector<uint64_t>* hashes) {
    hashes->clear();
    if (column.is_each()) return;
    for (const std::string_view text : column.texts()) hashes->push_back(hash_.text(text));
  };
  hash_all(columns.metrics, &metric_hashes_);
  hash_all(columns.sources, &source_hashes_);
  hash_all(columns.properties, &property_hashes_);
  code_tenants();
  next_ = 0;
  sender_ = {};
}

void Recorder::code_tenants() {
  tenant_codes_.clear();
  const TextColumn& tenants = columns_->tenants;
  if (!tenants.is_each()) return group(tenants.texts().size());
  absl::flat_hash_map<std::string_view, uint32_t> codes;
  tenant_codes_.reserve(columns_->events);
  for (const std::string_view tenant : tenants.texts()) {
    const auto next = static_cast<uint32_t>(codes.size());
    tenant_codes_.push_back(codes.try_emplace(tenant, next).first->second);
  }
  group(codes.size());
}

// By counting: events of a tenant side by side, each tenant's as they come.
void Recorder::group(size_t tenants) {
  order_.clear();
  if (tenants < 2) return;
  std::vector<uint32_t> next(tenants + 1);
  for (size_t i = 0; i < columns_->events; ++i) ++next[tenant_of(i) + 1];
  for (size_t i = 1; i < tenants; ++i) next[i] += next[i - 1];
  order_.resize(columns_->events);
  for (size_t i = 0; i < columns_->events; ++i) {
    order_[next[tenant_of(i)]++] = static_cast<uint32_t>(i);
  }
}

uint32_t Recorder::tenant_of(size_t event) const {
  return tenant_codes_.empty() ? static_cast<uint32_t>(columns_->tenants.code(event))
                               : tenant_codes_[event];
}

uint64_t Recorder::hash_in(const TextColumn& column, const std::vector<uint64_t>& coded,
                           size_t event) const {
  return coded.empty() ? hash_.text(column.at(event)) : coded[column.code(event)];
}

bool Recorder::prepare() {
  const size_t count = std::min(kBlockEvents, columns_->events - next_);
  known_.resize(count);
  const std::span<Known> block(known_);
  for (size_t i = 0; i < count; i += kTogether) {
    learn(next_ + i, block.subspan(i, std::min(kTogether, count - i)));
  }
  next_ += count;
  return count > 0;
}

void Recorder::learn(size_t position, std::span<Known> known) {
  const UsageColumns& columns = *columns_;
  std::array<KeyedText, kTogether> texts;
  for (size_t i = 0; i < known.size(); ++i) {
    if (position + i + kAhead < columns.events) {
      __builtin_prefetch(columns.ids.at(event_at(position + i + kAhead)).data());
    }
    const size_t event = event_at(position + i);
    known[i].event = static_cast<uint32_t>(event);
    known[i].tenant = tenant_of(event);
    known[i].hashes = text_hashes(event);
    texts[i] = {sender_key(event), columns.ids.at(event)};
  }
  std::array<Hash128, kTogether> ids;
  siphash128_each({texts.data(), known.size()}, ids.data());

  std::array<EventHash::Content, kTogether> contents;
  for (size_t i = 0; i < known.size(); ++i) {
    contents[i] = EventHash::bytes_of(columns.event(known[i].event, 0), known[i].hashes);
    texts[i] = hash_.keyed(contents[i]);
  }
  std::array<uint64_t, kTogether> digests;
  siphash_each({texts.data(), known.size()}, digests.data());
  for (size_t i = 0; i < known.size(); ++i) {
    known[i].id = ids[i];
    known[i].content = columns.action(known[i].event) == Action::kCancel ? 0 : digests[i];
  }
}

// Neighbours mostly have the same.
const HashKey& Recorder::sender_key(size_t event) {
  const uint32_t tenant = tenant_of(event);
  const std::string_view source = columns_->sources.at(event);
  const bool same_place = sender_.source.data() == source.data() && source.data() != nullptr;
  const bool same_source =
      same_place ? sender_.source.size() == source.size() : sender_.source == source;
  if (sender_.tenant != tenant || !same_source) {
    sender_ = {tenant, source, hash_.sender(columns_->tenants.at(event), source)};
  }
  return sender_.key;
}

BatchWriter::Hashes Recorder::text_hashes(size_t event) const {
  const UsageColumns& columns = *columns_;
  BatchWriter::Hashes hashes;
  hashes.metric = hash_in(columns.metrics, metric_hashes_, event);
  hashes.source = hash_in(columns.sources, source_hashes_, event);
  if (columns.properties.at(event).data() != nullptr) {
    hashes.properties = hash_in(columns.properties, property_hashes_, event);
  }
  return hashes;
}

Status Recorder::record(int64_t now_ns, std::span<EventStatus> statuses) {
  index_.expire(now_ns);
  for (size_t i = 0; i < std::min(kAhead, known_.size()); ++i) index_.prefetch(known_[i].id);
  for (size_t begin = 0; begin < known_.size();) {
    size_t end = begin + 1;
    while (end < known_.size() && known_[end].tenant == known_[begin].tenant) ++end;
    if (Status status = record_tenant(begin, end, now_ns, statuses); !status) return status;
    begin = end;
  }
  return {};
}

Status Recorder::record_tenant(size_t begin, size_t end, int64_t now_ns,
                               std::span<EventStatus> statuses) {
  const std::string_view tenant = columns_->tenants.at(known_[begin].event);
  writer_.begin(now_ns);
  pending_.clear();
  for (size_t i = begin; i < end; ++i) {
    // Of the tenants that follow, too: many have an event or two.
    if (i + kAhead < known_.size()) index_.prefetch(known_[i + kAhead].id);
    const Known& known = known_[i];
    const UsageEvent event = columns_->event(known.event, now_ns);
    const EventStatus status = judge(known, event.action);
    statuses[known.event] = status;
    if (status != EventStatus::kRecorded) continue;
    if (!writer_.add(event, known.hashes)) {
      if (Status appended = append(tenant, now_ns); !appended) return appended;
      writer_.begin(now_ns);
      writer_.add(event, known.hashes);
    }
    const auto number = static_cast<uint32_t>(pending_.entries().size());
    pending_.add(known.id, {known.content, {0, number, event.action}});
  }
  return append(tenant, now_ns);
}

EventStatus Recorder::judge(const Known& known, Action action) {
  found_.clear();
  index_.find(known.id, &found_);
  pending_.find(known.id, &found_);
  if (found_.empty()) {
    return action == Action::kRecord ? EventStatus::kRecorded : EventStatus::kUnknown;
  }
  const IdEntry& newest = found_.back();
  const bool cancelled = newest.place.action == Action::kCancel;
  if (action == Action::kCancel) {
    return cancelled ? EventStatus::kDuplicate : EventStatus::kRecorded;
  }
  if (action == Action::kCorrect) {
    return !cancelled && newest.digest == known.content ? EventStatus::kDuplicate
                                                        : EventStatus::kRecorded;
  }
  const bool same = std::ranges::any_of(found_, [&](const IdEntry& entry) {
    return entry.place.action != Action::kCancel && entry.digest == known.content;
  });
  return same ? EventStatus::kDuplicate : EventStatus::kConflict;
}

Status Recorder::append(std::string_view tenant, int64_t now_ns) {
  if (writer_.events() == 0) return {};
  // Room for the ids first: nothing may fail between the record and them.
  if (Status status = index_.make_room(writer_.events(), now_ns); !status) return status;
  const log::Field fields[] = {{log::FieldId::kUsageBatch, log::Value::blob(writer_.bytes()), {}}};
  log::Entry entry;
  entry.chain = log::Class::kUsage;
  entry.tenant = tenant;
  entry.fields = fields;
  entry.time_ns = now_ns;
  entry.kind = log::Kind::kUsage;
  const Result<log::Position> at = log_.append(entry, log::Ack::kRing);
  if (!at) return at.status();
  for (const Pending::Entry& each : pending_.entries()) {
    IdEntry placed = each.entry;
    placed.place.sequence = at->sequence;
    index_.add(each.id, placed, now_ns);
  }
  index_.set_position(at->sequence + 1);
  pending_.clear();
  return {};
}

}  // namespace tenancy::metering
