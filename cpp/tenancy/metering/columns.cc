#include "tenancy/metering/columns.h"

#include <string>

#include "tenancy/base/utf8.h"
#include "tenancy/log/record.h"
#include "tenancy/metering/json_object.h"

namespace tenancy::metering {
namespace {

// What is wrong with a text; empty when nothing is.
using Fault = std::string (*)(std::string_view text);

std::string length_fault(std::string_view text, size_t least, size_t most) {
  if (text.data() == nullptr) return "expected a text, got none";
  if (text.size() < least || text.size() > most) {
    return "expected " + std::to_string(least) + " to " + std::to_string(most) +
           " bytes of UTF-8, got " + std::to_string(text.size());
  }
  return is_utf8(text) ? "" : "is not UTF-8";
}

std::string tenant_fault(std::string_view text) {
  return length_fault(text, 1, log::kTenantBytesMax);
}
std::string metric_fault(std::string_view text) { return length_fault(text, 1, kMetricBytesMax); }
std::string id_fault(std::string_view text) { return length_fault(text, 1, kIdBytesMax); }
std::string source_fault(std::string_view text) {
  return text.data() == nullptr ? "" : length_fault(text, 0, kSourceBytesMax);
}
std::string properties_fault(std::string_view text) {
  if (text.data() == nullptr) return "";
  std::string fault = length_fault(text, 2, kPropertiesBytesMax);
  return fault.empty() ? json_object_fault(text) : fault;
}

Status check_texts(const TextColumn& column, size_t events, const char* name, Fault fault_of) {
  if (!column.covers(events)) {
    return {Code::kInvalidArgument,
            std::string(name) + ": expected as many as ids, " + std::to_string(events)};
  }
  const auto refuse = [&](size_t event, const std::string& fault) {
    return Status(Code::kInvalidArgument,
                  std::string(name) + "[" + std::to_string(event) + "]: " + fault);
  };
  if (column.is_each()) {
    for (size_t i = 0; i < events; ++i) {
      if (const std::string fault = fault_of(column.at(i)); !fault.empty()) {
        return refuse(i, fault);
      }
    }
    return {};
  }
  // A text that no event chooses may be anything.
  std::vector<bool> good(column.texts().size());
  for (size_t i = 0; i < events; ++i) {
    const size_t code = column.code(i);
    if (good[code]) continue;
    if (const std::string fault = fault_of(column.texts()[code]); !fault.empty()) {
      return refuse(i, fault);
    }
    good[code] = true;
  }
  return {};
}

}  // namespace

Status UsageColumns::check() const {
  const struct {
    const TextColumn& column;
    const char* name;
    Fault fault;
  } texts[] = {{ids, "ids", id_fault},
               {tenants, "tenants", tenant_fault},
               {metrics, "metrics", metric_fault},
               {sources, "sources", source_fault},
               {properties, "properties", properties_fault}};
  for (const auto& each : texts) {
    if (Status status = check_texts(each.column, events, each.name, each.fault); !status) {
      return status;
    }
  }
  const auto fits = [this](size_t size) { return size == 0 || size == events; };
  if (!fits(times_ns.size()) || !fits(quantities.size()) || !fits(actions.size())) {
    return {Code::kInvalidArgument,
            "times, quantities, actions: expected as many as ids, " + std::to_string(events)};
  }
  for (size_t i = 0; i < quantities.size(); ++i) {
    if (!Decimal::from_units(quantities[i])) {
      return {Code::kInvalidArgument,
              "quantities[" + std::to_string(i) + "]: expected less than 10^26"};
    }
  }
  return {};
}

UsageEvent UsageColumns::event(size_t number, int64_t now_ns) const {
  UsageEvent event;
  event.id = ids.at(number);
  event.source = sources.at(number);
  event.metric = metrics.at(number);
  if (const std::string_view text = properties.at(number); text.data() != nullptr) {
    event.properties = text;
  }
  event.time_given = !times_ns.empty() && times_ns[number] != kNoTime;
  event.time_ns = event.time_given ? times_ns[number] : now_ns;
  if (!quantities.empty()) event.quantity = quantities[number];
  event.action = action(number);
  return event;
}

}  // namespace tenancy::metering
