#include <cstring>
#include <random>

#include "catch.h"
#include "tenancy/log/record.h"

using namespace tenancy;
using namespace tenancy::log;

namespace {

RecordDraft draft_of(std::span<const Field> fields) {
  RecordDraft draft;
  draft.chain = Class::kAccess;
  draft.kind = Kind::kEvent;
  draft.epoch = 7;
  draft.log_id.fill(0xab);
  draft.time_ns = -5;
  draft.fields = fields;
  return draft;
}

// As the chain would complete it, with a right CRC.
std::string complete(std::string record) {
  const uint32_t crc = crc32c(std::string_view(record).substr(0, record.size() - 4));
  std::memcpy(record.data() + record.size() - 4, &crc, 4);
  return record;
}

std::string encoded(const RecordDraft& draft) {
  std::string record;
  const Status status = encode_record(draft, &record);
  if (!status) FAIL(status.error().message);
  return complete(record);
}

RecordView parsed(const std::string& bytes) {
  RecordView view;
  REQUIRE(RecordView::parse(bytes, &view) == Framing::kRecord);
  return view;
}

std::string refusal(const RecordDraft& draft) {
  std::string record;
  const Status status = encode_record(draft, &record);
  REQUIRE_FALSE(status);
  REQUIRE(status.error().code == Code::kInvalidArgument);
  return status.error().message;
}

}  // namespace

TEST_CASE("a record gives back every field it was made of") {
  const std::string uuid(16, '\x11');
  const std::string sealed(45, 's');
  const Field fields[] = {
      {FieldId::kEventId, Value::uuid(uuid), {}},
      {FieldId::kType, Value::text("data_read"), {}},
      {FieldId::kAction, Value::null(), {}},
      {FieldId::kResource, Value::text(""), {}},
      {FieldId::kPrincipal, Value::sealed(sealed), {}},
      {FieldId::kPolicyRevision, Value::unsigned_integer(~uint64_t{0}), {}},
      {FieldId::kNamed, Value::boolean(true), "a"},
      {FieldId::kNamed, Value::integer(-3), "ab"},
      {FieldId::kNamed, Value::blob(std::string_view("\0\xff", 2)), "b"},
      {FieldId::kNamed, Value::json("{}"), "\xc3\xa4"},
  };
  RecordDraft draft = draft_of(fields);
  draft.tenant = "ten_1";
  const std::string bytes = encoded(draft);
  const RecordView view = parsed(bytes);
  CHECK(view.version() == 1);
  CHECK(view.algorithm() == 1);
  CHECK(view.chain() == Class::kAccess);
  CHECK(view.kind() == Kind::kEvent);
  CHECK(view.epoch() == 7);
  CHECK(view.log_id() == draft.log_id);
  CHECK(view.time_ns() == -5);
  CHECK(view.tenant() == "ten_1");
  CHECK(view.encoding_fault().empty());
  FieldCursor cursor = view.fields();
  Field field;
  for (const Field& expected : fields) {
    REQUIRE(cursor.next(&field));
    CHECK(field.id == expected.id);
    CHECK(field.name == expected.name);
    CHECK(field.value.type == expected.value.type);
    CHECK(field.value.number == expected.value.number);
    if (expected.value.number == 0 && field.value.type != ValueType::kInt) {
      CHECK(field.value.bytes == expected.value.bytes);
    }
  }
  CHECK_FALSE(cursor.next(&field));
  CHECK(cursor.at_end());
  CHECK(view.find(FieldId::kType)->bytes == "data_read");
  CHECK_FALSE(view.find(FieldId::kReason));
}

TEST_CASE(
    "absent, null and empty are three different records, and so are no tenant and an empty one") {
  const Field null[] = {{FieldId::kAction, Value::null(), {}}};
  const Field empty[] = {{FieldId::kAction, Value::text(""), {}}};
  const Field zero[] = {{FieldId::kAction, Value::blob(""), {}}};
  const std::string absent_bytes = encoded(draft_of({}));
  const std::string null_bytes = encoded(draft_of(null));
  const std::string empty_bytes = encoded(draft_of(empty));
  CHECK(absent_bytes != null_bytes);
  CHECK(null_bytes != empty_bytes);
  CHECK(empty_bytes != encoded(draft_of(zero)));
  CHECK_FALSE(parsed(absent_bytes).find(FieldId::kAction));
  CHECK(parsed(null_bytes).find(FieldId::kAction)->type == ValueType::kNull);
  CHECK(parsed(empty_bytes).find(FieldId::kAction)->type == ValueType::kText);
  RecordDraft draft = draft_of({});
  draft.tenant = "";
  CHECK(encoded(draft) != absent_bytes);
  CHECK(parsed(encoded(draft)).tenant() == "");
  CHECK_FALSE(parsed(absent_bytes).tenant());
}

TEST_CASE("bytes cannot move over the border of two fields") {
  const Field one[] = {{FieldId::kAction, Value::text("bob"), {}},
                       {FieldId::kResource, Value::text("read:doc"), {}}};
  const Field other[] = {{FieldId::kAction, Value::text("bob:read"), {}},
                         {FieldId::kResource, Value::text(":doc"), {}}};
  CHECK(encoded(draft_of(one)) != encoded(draft_of(other)));
  RecordDraft tenant_a = draft_of({});
  tenant_a.tenant = "a";
  const Field named[] = {{FieldId::kNamed, Value::text("y"), "x"}};
  RecordDraft tenant_b = draft_of(named);
  tenant_b.tenant = "";
  CHECK(encoded(tenant_a) != encoded(tenant_b));
}

TEST_CASE("what has no encoding is refused, and the message says which field") {
  const Field twice[] = {{FieldId::kType, Value::text("a"), {}},
                         {FieldId::kType, Value::text("b"), {}}};
  CHECK(refusal(draft_of(twice)).find("field 2: comes twice") == 0);
  const Field backwards[] = {{FieldId::kNamed, Value::null(), "b"},
                             {FieldId::kNamed, Value::null(), "a"}};
  CHECK(refusal(draft_of(backwards)).find("field \"a\"") == 0);
  const Field nameless[] = {{FieldId::kNamed, Value::null(), ""}};
  CHECK(refusal(draft_of(nameless)).find("a name of 1 to 255 bytes") != std::string::npos);
  const Field misnamed[] = {{FieldId::kType, Value::null(), "type"}};
  CHECK(refusal(draft_of(misnamed)).find("only field 65535") != std::string::npos);
  const Field not_text[] = {{FieldId::kType, Value::text("\xff"), {}}};
  CHECK(refusal(draft_of(not_text)) == "field 2: not UTF-8");
  const Field not_uuid[] = {{FieldId::kEventId, Value::uuid("123"), {}}};
  CHECK(refusal(draft_of(not_uuid)) == "field 1: not 16 bytes");
  const std::string much(kRecordBytesMax, 'x');
  const Field long_value[] = {{FieldId::kType, Value::text(much), {}}};
  CHECK(refusal(draft_of(long_value)).find("1 MiB") != std::string::npos);
  const std::string long_name(256, 'n');
  const Field long_named[] = {{FieldId::kNamed, Value::null(), long_name}};
  CHECK(refusal(draft_of(long_named)).find("255") != std::string::npos);
  RecordDraft draft = draft_of({});
  draft.tenant = std::string_view("\xff", 1);
  CHECK(refusal(draft).find("tenant") == 0);
  const std::string long_tenant(1025, 't');
  draft.tenant = long_tenant;
  CHECK(refusal(draft).find("1024 bytes") != std::string::npos);
  const std::vector<Field> many(4097);
  CHECK(refusal(draft_of(many)).find("4096 fields") != std::string::npos);
}

TEST_CASE("framing tells nothing, a record, and damage apart") {
  const std::string record = encoded(draft_of({}));
  RecordView view;
  CHECK(RecordView::parse("", &view) == Framing::kEnd);
  CHECK(RecordView::parse(std::string(3, '\0'), &view) == Framing::kEnd);
  CHECK(RecordView::parse(std::string(300, '\0'), &view) == Framing::kEnd);
  CHECK(RecordView::parse("abc", &view) == Framing::kShort);
  CHECK(RecordView::parse(std::string_view(record).substr(0, record.size() - 1), &view) ==
        Framing::kShort);
  CHECK(RecordView::parse(record + "more", &view) == Framing::kRecord);
  CHECK(view.size() == record.size());
  CHECK(RecordView::parse(std::string(8, '\x7f'), &view) == Framing::kLength);
  for (size_t i = 0; i < record.size(); ++i) {
    std::string flipped = record;
    flipped[i] = static_cast<char>(flipped[i] ^ 0x20);
    INFO(i);
    REQUIRE(RecordView::parse(flipped, &view) != Framing::kRecord);
  }
}

TEST_CASE("whatever bytes carry a right CRC, reading them stays inside and judges them") {
  const Field fields[] = {{FieldId::kType, Value::text("data_read"), {}},
                          {FieldId::kPolicyRevision, Value::unsigned_integer(9), {}},
                          {FieldId::kNamed, Value::json("[1]"), "k"}};
  RecordDraft draft = draft_of(fields);
  draft.tenant = "ten_1";
  const std::string good = encoded(draft);
  std::mt19937_64 random(17);
  size_t faults = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = good;
    for (uint64_t i = 0; i <= random() % 3; ++i) {
      bytes[8 + random() % (bytes.size() - 12)] = static_cast<char>(random());
    }
    bytes = complete(bytes);
    RecordView view;
    if (RecordView::parse(bytes, &view) != Framing::kRecord) continue;
    faults += view.encoding_fault().empty() ? 0 : 1;
    (void)view.find(FieldId::kReason);
    (void)view.tenant();
  }
  CHECK(faults > 1000);
}
