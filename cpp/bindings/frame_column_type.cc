// Data frames of other libraries, by Arrow's capsules, as one FrameColumn for each of their
// columns.
#include <bit>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "arrow_capsules.h"
#include "frame_types.h"

namespace tenancy {
namespace {

using Kind = FrameColumn::Kind;
constexpr const char* kField = "frame";
constexpr int64_t kNsPerDay = 86'400'000'000'000;

[[noreturn]] void refuse(std::string_view field, std::string message) {
  raise_invalid(std::string(field).c_str(), {Code::kInvalidArgument, std::move(message)});
}

// What an Arrow format means, and the format of the whole numbers that it lies in.
struct Meaning {
  Kind kind;
  const char* format;
  int64_t unit_ns = 1;
  std::string zone;
};

int64_t unit_of(char letter) {
  switch (letter) {
    case 's': return 1'000'000'000;
    case 'm': return 1'000'000;
    case 'u': return 1'000;
    default: return 1;
  }
}

std::optional<Meaning> meaning_of(std::string_view format) {
  if (format == "g") return Meaning{Kind::kFloat64, "l", 1, ""};
  if (format == "f") return Meaning{Kind::kFloat32, "I", 1, ""};
  if (format == "tdD") return Meaning{Kind::kTime, "i", kNsPerDay, "UTC"};
  if (format == "tdm") return Meaning{Kind::kTime, "l", 1'000'000, "UTC"};
  if (format.starts_with("ts") && format.size() >= 4 && format[3] == ':') {
    return Meaning{Kind::kTime, "l", unit_of(format[2]), std::string(format.substr(4))};
  }
  return std::nullopt;
}

Kind kind_of(const Column& column) {
  switch (column.kind()) {
    case Column::Kind::kDecimal: return Kind::kDecimal;
    case Column::Kind::kText: return Kind::kText;
    default: return Kind::kInt;
  }
}

// A type that is not read yet is told when the column is used: a frame may have other columns.
struct Member {
  std::string name;
  std::optional<FrameColumn> column;
  std::string problem;
};

Member member_of(const ArrowSchema& schema) {
  Member member;
  member.name = schema.name == nullptr ? "" : schema.name;
  const std::string_view format = schema.format == nullptr ? "" : schema.format;
  std::optional<Meaning> meaning = schema.dictionary == nullptr ? meaning_of(format) : std::nullopt;
  ArrowSchema plain = schema;
  if (meaning) plain.format = meaning->format;
  Result<Column> column = Column::of_schema(plain);
  if (!column.ok()) {
    member.problem = column.error().message;
    return member;
  }
  FrameColumn made;
  made.column = std::move(column).value();
  made.kind = meaning ? meaning->kind : kind_of(made.column);
  if (meaning) {
    made.unit_ns = meaning->unit_ns;
    made.zone = std::move(meaning->zone);
  }
  member.column = std::move(made);
  return member;
}

std::vector<Member> members_of(const ArrowSchema& schema) {
  if (schema.format == nullptr || std::string_view(schema.format) != "+s") {
    refuse(kField, "expected a table with named columns, got one column");
  }
  std::vector<Member> members;
  for (int64_t i = 0; i < schema.n_children; ++i) {
    members.push_back(member_of(*schema.children[i]));
  }
  return members;
}

void append(std::vector<Member>* members, ArrowArray* array) {
  const std::shared_ptr<const ArrowArray> owned = take_array(array);
  if (owned->n_children != static_cast<int64_t>(members->size())) {
    refuse(kField, "an Arrow batch has other columns than its schema");
  }
  for (size_t i = 0; i < members->size(); ++i) {
    Member& member = (*members)[i];
    if (!member.column) continue;
    // A slice of a table is an offset of the parent.
    ArrowArray child = *owned->children[i];
    child.offset += owned->offset;
    child.length = owned->length;
    if (owned->offset != 0 && child.null_count != 0) child.null_count = -1;
    const Status appended = member.column->column.append(child, owned);
    if (!appended.ok()) raise_invalid(member.name.c_str(), appended.error());
  }
}

std::vector<Member> read_stream(const py::handle& frame) {
  const py::object capsule = frame.attr("__arrow_c_stream__")();
  auto* stream = from_capsule<ArrowArrayStream>(capsule, "arrow_array_stream", kField);
  ArrowSchema schema{};
  check_stream(stream->get_schema(stream, &schema), stream, kField);
  const std::shared_ptr<ArrowSchema> schema_owner(&schema, [](ArrowSchema* each) {
    if (each->release != nullptr) each->release(each);
  });
  std::vector<Member> members = members_of(schema);
  while (true) {
    ArrowArray array{};
    check_stream(stream->get_next(stream, &array), stream, kField);
    if (array.release == nullptr) return members;
    append(&members, &array);
  }
}

std::vector<Member> read_array(const py::handle& frame) {
  const py::tuple capsules = frame.attr("__arrow_c_array__")();
  if (capsules.size() != 2) refuse(kField, "__arrow_c_array__ gave no pair of capsules");
  std::vector<Member> members =
      members_of(*from_capsule<ArrowSchema>(capsules[0], "arrow_schema", kField));
  append(&members, from_capsule<ArrowArray>(capsules[1], "arrow_array", kField));
  return members;
}

py::list read_frame(const py::handle& frame) {
  std::vector<Member> members =
      py::hasattr(frame, "__arrow_c_stream__") ? read_stream(frame) : read_array(frame);
  py::list result;
  for (Member& member : members) {
    const py::object column =
        member.column ? py::cast(std::move(*member.column)) : py::object(to_str(member.problem));
    result.append(py::make_tuple(to_str(member.name), column));
  }
  return result;
}

FrameColumn column_of_values(const py::handle& values, const std::string& field, bool ids) {
  FrameColumn made;
  const ColumnUse use = ids ? ColumnUse::kIds : ColumnUse::kQuantities;
  made.column = column_of(values, field.c_str(), use);
  made.kind = kind_of(made.column);
  return made;
}

// Whole numbers that are counts of nanoseconds, or the bits of doubles.
FrameColumn read_as(const FrameColumn& self, const std::string& kind, const std::string& zone) {
  FrameColumn made = self;
  if (self.kind != Kind::kInt || (kind != "time" && kind != "float")) {
    refuse(kField, "only whole numbers are read as times or floats");
  }
  made.kind = kind == "time" ? Kind::kTime : Kind::kFloat64;
  made.zone = zone;
  return made;
}

// --- what a column holds

const char* kind_name(const FrameColumn& self) {
  switch (self.kind) {
    case Kind::kInt: return "int";
    case Kind::kDecimal: return "decimal";
    case Kind::kText: return "text";
    case Kind::kTime: return "time";
    default: return "float";
  }
}

std::shared_ptr<std::vector<int64_t>> copied(const FrameColumn& self, const std::string& field) {
  auto values = std::make_shared<std::vector<int64_t>>(static_cast<size_t>(self.column.length()));
  if (!self.column.read_wholes(0, self.column.length(), values->data())) {
    // Such numbers come out negative; what lies where a value is missing is no number.
    int64_t row = 0;
    while ((*values)[static_cast<size_t>(row)] >= 0 || self.column.is_null(row)) {
      if (++row == self.column.length()) return values;
    }
    refuse(field, "row " + std::to_string(row) + ": a number above 2^63 - 1");
  }
  return values;
}

py::object first_null(const FrameColumn& self) {
  const std::optional<int64_t> found = self.column.first_null();
  return found ? py::object(py::int_(*found)) : py::object(py::none());
}

FrameValues wholes(const FrameColumn& self, const std::string& field) {
  if (self.kind != Kind::kInt) refuse(field, "expected whole numbers");
  const int64_t length = self.column.length();
  if (const int64_t* where = self.column.wholes_at(0, length)) {
    return {where, length, false, std::make_shared<Column>(self.column)};
  }
  return FrameValues::of_wholes(copied(self, field));
}

FrameValues times_ns(const FrameColumn& self, const std::string& field) {
  if (self.kind != Kind::kTime) refuse(field, "expected times");
  const std::shared_ptr<std::vector<int64_t>> values = copied(self, field);
  if (self.unit_ns == 1) return FrameValues::of_wholes(values);
  for (size_t i = 0; i < values->size(); ++i) {
    if (self.column.is_null(static_cast<int64_t>(i))) continue;
    if (__builtin_mul_overflow((*values)[i], self.unit_ns, &(*values)[i])) {
      refuse(field, "row " + std::to_string(i) + ": the time is outside of 1677 to 2262");
    }
  }
  return FrameValues::of_wholes(values);
}

FrameValues floats(const FrameColumn& self, const std::string& field) {
  if (self.kind != Kind::kFloat32 && self.kind != Kind::kFloat64) {
    refuse(field, "expected floating point");
  }
  const std::shared_ptr<std::vector<int64_t>> bits = copied(self, field);
  auto values = std::make_shared<std::vector<double>>(bits->size());
  for (size_t i = 0; i < bits->size(); ++i) {
    (*values)[i] = self.kind == Kind::kFloat64
                       ? std::bit_cast<double>((*bits)[i])
                       : double{std::bit_cast<float>(static_cast<uint32_t>((*bits)[i]))};
  }
  return FrameValues::of_doubles(values);
}

Amounts units(const FrameColumn& self, const std::string& field) {
  if (self.kind != Kind::kInt && self.kind != Kind::kDecimal) {
    refuse(field, "expected whole numbers or decimals");
  }
  Amounts amounts;
  amounts.length = self.column.length();
  amounts.units = allocate_units(amounts.length);
  const int64_t bad = self.column.read_units(0, amounts.length, amounts.units.get());
  if (bad >= 0) {
    refuse(field, "row " + std::to_string(bad) +
                      ": expected a number below 10^26 of at most 12 digits after the point");
  }
  return amounts;
}

// Numbers distinct values by their first appearance. Rows are mostly in runs.
template <class Value>
class Codes {
 public:
  int64_t of(const Value& value) {
    if (!values_.empty() && value == values_[last_]) return static_cast<int64_t>(last_);
    const auto [at, added] = found_.emplace(value, values_.size());
    if (added) values_.push_back(value);
    last_ = at->second;
    return static_cast<int64_t>(last_);
  }
  const std::vector<Value>& values() const { return values_; }

 private:
  std::unordered_map<Value, size_t> found_;
  std::vector<Value> values_;
  size_t last_ = 0;
};

py::tuple codes_of_texts(const Column& column) {
  auto codes = std::make_shared<std::vector<int64_t>>(static_cast<size_t>(column.length()));
  std::vector<std::string_view> texts(codes->size());
  // The texts of a dictionary are the same ones again and again.
  for (int64_t at = 0; column.has_dictionary() && at < column.length();) {
    const int64_t end = column.chunk_end(at);
    const std::vector<std::string_view> words = column.dictionary_texts(at);
    std::vector<int64_t> places(static_cast<size_t>(end - at));
    column.read_codes(at, end - at, places.data());
    for (const int64_t place : places) {
      if (place < 0 || place >= static_cast<int64_t>(words.size())) {
        refuse(kField, "an Arrow dictionary has no text for one of its codes");
      }
      texts[static_cast<size_t>(at++)] = words[static_cast<size_t>(place)];
    }
  }
  if (!column.has_dictionary()) column.read_texts(0, column.length(), texts.data());
  Codes<std::string_view> known;
  for (size_t i = 0; i < texts.size(); ++i) (*codes)[i] = known.of(texts[i]);
  py::list values;
  for (const std::string_view text : known.values()) values.append(to_str(text));
  return py::make_tuple(FrameValues::of_wholes(codes), values);
}

py::tuple codes(const FrameColumn& self, const std::string& field) {
  if (const std::optional<int64_t> null = self.column.first_null()) {
    refuse(field, "row " + std::to_string(*null) + ": no value");
  }
  if (self.kind == Kind::kText) return codes_of_texts(self.column);
  if (self.kind != Kind::kInt) refuse(field, "expected texts or whole numbers");
  const std::shared_ptr<std::vector<int64_t>> values = copied(self, field);
  Codes<int64_t> known;
  for (int64_t& value : *values) value = known.of(value);
  py::list distinct;
  for (const int64_t value : known.values()) distinct.append(py::int_(value));
  return py::make_tuple(FrameValues::of_wholes(values), distinct);
}

}  // namespace

void bind_frame_column(py::module_& module) {
  py::class_<FrameValues>(module, "FrameValues", py::buffer_protocol())
      .def_buffer([](const FrameValues& self) {
        return py::buffer_info(const_cast<void*>(self.data), sizeof(int64_t),
                               self.is_float ? "d" : "q", 1, {self.length}, {sizeof(int64_t)},
                               true);
      })
      .def("__len__", [](const FrameValues& self) { return self.length; });
  py::class_<FrameColumn>(module, "FrameColumn")
      .def_static("of", &column_of_values, py::arg("values"), py::arg("field"), py::arg("ids"))
      .def("__len__", [](const FrameColumn& self) { return self.column.length(); })
      .def_property_readonly("kind", &kind_name)
      .def_property_readonly("zone", [](const FrameColumn& self) { return self.zone; })
      .def("first_null", &first_null)
      .def("read_as", &read_as, py::arg("kind"), py::arg("zone"))
      .def("wholes", &wholes, py::arg("field"))
      .def("times_ns", &times_ns, py::arg("field"))
      .def("floats", &floats, py::arg("field"))
      .def("units", &units, py::arg("field"))
      .def("codes", &codes, py::arg("field"));
  module.def("read_frame", &read_frame, py::arg("frame"));
}

}  // namespace tenancy
