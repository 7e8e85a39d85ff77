// UsageBatch by the Arrow C data interface: a struct array, which is a record batch.
#include <array>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "arrow_capsules.h"
#include "usage_types.h"

namespace tenancy {
namespace {

using metering::UsageRow;
using metering::UsageRows;

constexpr size_t kColumns = kUsageColumns.size();
constexpr std::array<const char*, kColumns> kFormats = {"L", "I", "l",       "U", "U", "U",
                                                        "U", "l", "d:38,12", "U", "U"};

// --- arrays: each child owns its values, the parent owns its children

struct Values {
  std::vector<uint8_t> validity;
  std::vector<char> data;  // numbers, or ends of texts
  std::string bytes;
  std::array<const void*, 3> buffers{};
};

void release_values(ArrowArray* array) {
  delete static_cast<Values*>(array->private_data);
  array->release = nullptr;
}

template <class T>
void put(Values* values, T value) {
  const auto* bytes = reinterpret_cast<const char*>(&value);
  values->data.insert(values->data.end(), bytes, bytes + sizeof value);
}

// Hands the values over; a text column has three buffers.
void hand_over(std::unique_ptr<Values> values, size_t length, int64_t nulls, bool texts,
               ArrowArray* out) {
  values->buffers = {values->validity.empty() ? nullptr : values->validity.data(),
                     values->data.data(), values->bytes.data()};
  *out = {static_cast<int64_t>(length), nulls,   0,       texts ? 3 : 2,  0,
          values->buffers.data(),       nullptr, nullptr, release_values, nullptr};
  out->private_data = values.release();
}

template <class Get>
void numbers(const UsageRows& batch, Get get, ArrowArray* out) {
  auto values = std::make_unique<Values>();
  values->data.reserve(batch.rows.size() * sizeof(get(UsageRow())));
  for (const UsageRow& row : batch.rows) put(values.get(), get(row));
  hand_over(std::move(values), batch.rows.size(), 0, false, out);
}

template <class Get>
void texts(const UsageRows& batch, Get get, ArrowArray* out) {
  auto values = std::make_unique<Values>();
  values->validity.resize((batch.rows.size() + 7) / 8);
  int64_t nulls = 0;
  put(values.get(), int64_t{0});
  for (size_t i = 0; i < batch.rows.size(); ++i) {
    const std::optional<std::string_view> text = get(batch.rows[i]);
    if (text) {
      values->bytes += *text;
      values->validity[i / 8] = static_cast<uint8_t>(values->validity[i / 8] | 1U << (i % 8));
    } else {
      ++nulls;
    }
    put(values.get(), static_cast<int64_t>(values->bytes.size()));
  }
  hand_over(std::move(values), batch.rows.size(), nulls, true, out);
}

using Text = std::optional<std::string_view>;

void fill(const UsageRows& batch, ArrowArray* children) {
  numbers(
      batch, [](const UsageRow& row) { return row.sequence; }, children);
  numbers(
      batch, [](const UsageRow& row) { return row.number; }, children + 1);
  numbers(
      batch, [](const UsageRow& row) { return row.recorded_ns; }, children + 2);
  texts(
      batch, [](const UsageRow& row) { return Text(row.tenant); }, children + 3);
  texts(
      batch, [](const UsageRow& row) { return Text(row.event.metric); }, children + 4);
  texts(
      batch, [](const UsageRow& row) { return Text(row.event.source); }, children + 5);
  texts(
      batch, [](const UsageRow& row) { return Text(row.event.id); }, children + 6);
  numbers(
      batch, [](const UsageRow& row) { return row.event.time_ns; }, children + 7);
  numbers(
      batch, [](const UsageRow& row) { return row.event.quantity; }, children + 8);
  texts(
      batch, [](const UsageRow& row) { return row.event.properties; }, children + 9);
  texts(
      batch, [](const UsageRow& row) { return Text(usage_action_name(row.event.action)); },
      children + 10);
}

struct BatchArrays {
  std::array<ArrowArray, kColumns> children{};
  std::array<ArrowArray*, kColumns> pointers{};
  std::array<const void*, 1> buffers{};
};

void release_batch(ArrowArray* array) {
  auto* held = static_cast<BatchArrays*>(array->private_data);
  for (ArrowArray& child : held->children) {
    if (child.release != nullptr) child.release(&child);
  }
  delete held;
  array->release = nullptr;
}

py::capsule array_capsule(const UsageRows& batch) {
  auto held = std::make_unique<BatchArrays>();
  fill(batch, held->children.data());
  for (size_t i = 0; i < kColumns; ++i) held->pointers[i] = &held->children[i];
  auto array = std::make_unique<ArrowArray>();
  *array = {static_cast<int64_t>(batch.rows.size()),
            0,
            0,
            1,
            static_cast<int64_t>(kColumns),
            held->buffers.data(),
            held->pointers.data(),
            nullptr,
            release_batch,
            nullptr};
  array->private_data = held.release();
  return capsule_of(std::move(array), "arrow_array");
}

// --- schema

struct BatchSchema {
  std::array<ArrowSchema, kColumns> children{};
  std::array<ArrowSchema*, kColumns> pointers{};
};

void release_child(ArrowSchema* schema) { schema->release = nullptr; }

void release_schema(ArrowSchema* schema) {
  delete static_cast<BatchSchema*>(schema->private_data);
  schema->release = nullptr;
}

py::capsule schema_capsule() {
  constexpr int64_t kNullable = 2;
  auto held = std::make_unique<BatchSchema>();
  for (size_t i = 0; i < kColumns; ++i) {
    const bool properties = std::string_view(kUsageColumns[i]) == "properties";
    held->children[i] = {kFormats[i], kUsageColumns[i], nullptr, properties ? kNullable : 0,
                         0,           nullptr,          nullptr, release_child,
                         nullptr};
    held->pointers[i] = &held->children[i];
  }
  auto schema = std::make_unique<ArrowSchema>();
  *schema = {"+s",
             "",
             nullptr,
             0,
             static_cast<int64_t>(kColumns),
             held->pointers.data(),
             nullptr,
             release_schema,
             nullptr};
  schema->private_data = held.release();
  return capsule_of(std::move(schema), "arrow_schema");
}

}  // namespace

py::tuple usage_arrow(const UsageRows& batch, const py::object&) {
  return py::make_tuple(schema_capsule(), array_capsule(batch));
}

}  // namespace tenancy
