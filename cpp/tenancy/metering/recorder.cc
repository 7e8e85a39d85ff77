#include "tenancy/metering/recorder.h"

#include <absl/container/flat_hash_map.h>

#include <algorithm>

namespace tenancy::metering {
namespace {

constexpr size_t kAhead = 8;  // events whose places in the index are fetched before they are needed

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
  for (size_t i = 0; i < count; ++i) {
    if (next_ + i + kAhead < columns_->events) {
      __builtin_prefetch(columns_->ids.at(event_at(next_ + i + kAhead)).data());
    }
    learn(event_at(next_ + i), &known_[i]);
  }
  next_ += count;
  return count > 0;
}

void Recorder::learn(size_t event, Known* known) {
  const UsageColumns& columns = *columns_;
  known->event = static_cast<uint32_t>(event);
  known->tenant = tenant_of(event);
  const std::string_view tenant = columns.tenants.at(event);
  const std::string_view source = columns.sources.at(event);
  if (sender_.tenant.data() == nullptr || sender_.tenant != tenant || sender_.source != source) {
    sender_ = {tenant, source, hash_.sender(tenant, source)};
  }
  known->id = EventHash::id(sender_.key, columns.ids.at(event));
  known->hashes.metric = hash_in(columns.metrics, metric_hashes_, event);
  known->hashes.source = hash_in(columns.sources, source_hashes_, event);
  known->hashes.properties = columns.properties.at(event).data() == nullptr
                                 ? 0
                                 : hash_in(columns.properties, property_hashes_, event);
  known->content = hash_.content(columns.event(event, 0), known->hashes);
}

Status Recorder::record(int64_t now_ns, std::span<EventStatus> statuses) {
  index_.expire(now_ns);
  for (size_t begin = 0; begin < known_.size();) {
    size_t end = begin + 1;
    while (end < known_.size() && known_[end].tenant == known_[begin].tenant) ++end;
    const std::span<const Known> events(known_.data() + begin, end - begin);
    if (Status status = record_tenant(events, now_ns, statuses); !status) return status;
    begin = end;
  }
  return {};
}

Status Recorder::record_tenant(std::span<const Known> events, int64_t now_ns,
                               std::span<EventStatus> statuses) {
  const std::string_view tenant = columns_->tenants.at(events.front().event);
  writer_.begin(now_ns);
  pending_.clear();
  for (size_t i = 0; i < std::min(kAhead, events.size()); ++i) index_.prefetch(events[i].id);
  for (size_t i = 0; i < events.size(); ++i) {
    if (i + kAhead < events.size()) index_.prefetch(events[i + kAhead].id);
    const Known& known = events[i];
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
