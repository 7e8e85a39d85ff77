// What a call may bring: the first value that breaks a bound is named, and JSON is looked at.
#include <string>

#include "catch.h"
#include "rig.h"
#include "tenancy/metering/json_object.h"

using namespace tenancy;
using namespace tenancy::metering;
using namespace tenancy::metering::test;

namespace {

std::string fault(const std::vector<Event>& events) {
  const Status status = columns_of(events).check();
  return status ? "" : status.error().message;
}

}  // namespace

TEST_CASE("the bounds of an event are those that are stated") {
  Event largest{.tenant = std::string(1024, 't'),
                .id = std::string(kIdBytesMax, 'i'),
                .metric = std::string(kMetricBytesMax, 'm'),
                .source = std::string(kSourceBytesMax, 's'),
                .properties = "{\"a\":\"" + std::string(kPropertiesBytesMax - 8, 'p') + "\"}"};
  CHECK(fault({largest}).empty());
  const auto refused = [&](auto change, const std::string& field) {
    std::vector<Event> events = {largest, largest};
    change(events[1]);
    INFO(fault(events));
    CHECK(fault(events).starts_with(field + "[1]: "));
  };
  refused([](Event& e) { e.id += "i"; }, "ids");
  refused([](Event& e) { e.id.clear(); }, "ids");
  refused([](Event& e) { e.id = "\xff"; }, "ids");
  refused([](Event& e) { e.tenant += "t"; }, "tenants");
  refused([](Event& e) { e.tenant.clear(); }, "tenants");
  refused([](Event& e) { e.metric += "m"; }, "metrics");
  refused([](Event& e) { e.source += "s"; }, "sources");
  refused([](Event& e) { e.properties += " "; }, "properties");
  refused([](Event& e) { e.properties = "[]"; }, "properties");
}

TEST_CASE("a text that no event chooses may be anything") {
  UsageColumns columns;
  columns.events = 2;
  columns.ids = TextColumn::each({"a", "b"});
  columns.metrics = TextColumn::same("m");
  columns.tenants = TextColumn::coded({"", "t"}, {1, 1});
  CHECK(columns.check().ok());
  columns.tenants = TextColumn::coded({"", "t"}, {1, 0});
  REQUIRE_FALSE(columns.check().ok());
  CHECK(columns.check().error().message.starts_with("tenants[1]: "));
  columns.tenants = TextColumn::coded({"t"}, {0});
  CHECK(columns.check().error().message.starts_with("tenants: expected as many as ids"));
}

TEST_CASE("properties are one JSON object") {
  for (const char* good :
       {"{}", " { } ", R"({"a":1})", R"({"a":-0.5e+10,"b":[true,false,null],"c":{"d":"\u00e9\n"}})",
        R"({"ü":"ß"})", R"({"a":[[],[{}]]})", R"({"a":0})"}) {
    INFO(good);
    CHECK(json_object_fault(good).empty());
  }
  for (const char* bad : {"",
                          "[]",
                          "1",
                          "{",
                          "}",
                          "{}{}",
                          "{} x",
                          R"({"a"})",
                          R"({"a":})",
                          R"({"a":1,})",
                          R"({a:1})",
                          R"({"a":01})",
                          R"({"a":1.})",
                          R"({"a":.5})",
                          R"({"a":1e})",
                          R"({"a":+1})",
                          R"({"a":tru})",
                          R"({"a":"\x"})",
                          R"({"a":"\u12g4"})",
                          "{\"a\":\"\n\"}",
                          R"({"a":"b})",
                          R"({"a":[1 2]})",
                          R"({"a":[1,]})",
                          R"({"a":--1})",
                          R"({"a":"\)"}) {
    INFO(bad);
    CHECK_FALSE(json_object_fault(bad).empty());
  }
  const auto nested = [](int depth) {
    std::string text;
    for (int i = 0; i < depth; ++i) text += "{\"a\":";
    return text + "1" + std::string(static_cast<size_t>(depth), '}');
  };
  CHECK(json_object_fault(nested(kJsonDepthMax)).empty());
  CHECK_FALSE(json_object_fault(nested(kJsonDepthMax + 1)).empty());
  CHECK_FALSE(json_object_fault(nested(3000)).empty());
}
