// The columns of usage events out of what Python gives: texts, lists, Arrow arrays, NumPy arrays.
#include <array>
#include <string>
#include <unordered_map>
#include <utility>

#include "usage_types.h"

namespace tenancy {
namespace {

using metering::Action;
using metering::TextColumn;

[[noreturn]] void refuse(const char* field, std::string message) {
  raise_invalid(field, {Code::kInvalidArgument, std::move(message)});
}

std::string type_of(const py::handle& value) { return Py_TYPE(value.ptr())->tp_name; }

bool is_list(const py::handle& value) {
  return PyList_Check(value.ptr()) != 0 || PyTuple_Check(value.ptr()) != 0;
}

// One value for all events, not one for each.
bool is_scalar(const py::handle& value) {
  return PyUnicode_Check(value.ptr()) != 0 || PySequence_Check(value.ptr()) == 0;
}

// The items of a list, which another thread may change meanwhile.
py::tuple items_of(const py::handle& list) {
  PyObject* const made = PySequence_Tuple(list.ptr());
  if (made == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::tuple>(made);
}

void expect_length(const char* field, size_t events, size_t got) {
  if (got == events) return;
  refuse(field,
         "expected as many as ids, " + std::to_string(events) + ", got " + std::to_string(got));
}

// Codes of a column whose chunks have dictionaries of their own, in one dictionary.
TextColumn of_dictionaries(const Column& column) {
  std::vector<std::string_view> texts;
  std::vector<uint32_t> codes;
  std::unordered_map<std::string_view, uint32_t> known;
  std::vector<int64_t> part;
  const int64_t length = column.length();
  uint32_t none = UINT32_MAX;
  const bool nulls = column.first_null().has_value();
  codes.reserve(static_cast<size_t>(length));
  for (int64_t begin = 0; begin < length;) {
    const int64_t end = column.chunk_end(begin);
    std::vector<uint32_t> here;
    for (const std::string_view text : column.dictionary_texts(begin)) {
      const auto [found, is_new] = known.try_emplace(text, static_cast<uint32_t>(texts.size()));
      if (is_new) texts.push_back(text);
      here.push_back(found->second);
    }
    part.resize(static_cast<size_t>(end - begin));
    column.read_codes(begin, end - begin, part.data());
    for (int64_t i = begin; i < end; ++i) {
      if (nulls && column.is_null(i)) {
        if (none == UINT32_MAX) {
          none = static_cast<uint32_t>(texts.size());
          texts.push_back(TextColumn::kNone);
        }
        codes.push_back(none);
        continue;
      }
      const auto code = static_cast<uint64_t>(part[static_cast<size_t>(i - begin)]);
      if (code >= here.size()) refuse("codes", "beyond the dictionary of the Arrow array");
      codes.push_back(here[code]);
    }
    begin = end;
  }
  return TextColumn::coded(std::move(texts), std::move(codes));
}

constexpr std::array<std::pair<std::string_view, Action>, 3> kActionNames{
    {{"record", Action::kRecord}, {"correct", Action::kCorrect}, {"cancel", Action::kCancel}}};

Action action_of(std::string_view name) {
  for (const auto& [known, action] : kActionNames) {
    if (known == name) return action;
  }
  refuse("actions", "expected record, correct or cancel, got " + std::string(name.substr(0, 40)));
}

}  // namespace

UsageArguments::UsageArguments(const py::object& tenants, const py::object& metrics,
                               const py::object& ids, const py::object& sources,
                               const py::object& times_ns, const py::object& quantities,
                               const py::object& properties, const py::object& actions) {
  columns_.ids = texts(ids, "ids");
  const bool one = PyUnicode_Check(ids.ptr()) != 0;
  columns_.events = one ? 1 : columns_.ids.events();
  columns_.tenants = texts(tenants, "tenants");
  columns_.metrics = texts(metrics, "metrics");
  if (!sources.is_none()) columns_.sources = texts(sources, "sources");
  if (!properties.is_none()) columns_.properties = texts(properties, "properties");
  if (!times_ns.is_none()) read_times(times_ns);
  if (!quantities.is_none()) read_quantities(quantities);
  if (!actions.is_none()) read_actions(actions);
}

TextColumn UsageArguments::texts(const py::object& values, const char* field) {
  if (PyUnicode_Check(values.ptr()) != 0) {
    kept_.push_back(values);
    return TextColumn::same(utf8_view(values));
  }
  if (!is_list(values)) return texts_of_column(values, field);
  const py::tuple items = items_of(values);
  kept_.push_back(items);
  std::vector<std::string_view> views;
  views.reserve(items.size());
  for (const py::handle item : items) {
    if (item.is_none()) {
      views.push_back(TextColumn::kNone);
    } else if (PyUnicode_Check(item.ptr()) != 0) {
      views.push_back(utf8_view(item));
    } else {
      refuse(field,
             "element " + std::to_string(views.size()) + ": expected str, got " + type_of(item));
    }
  }
  return TextColumn::each(std::move(views));
}

TextColumn UsageArguments::texts_of_column(const py::object& values, const char* field) {
  if (is_scalar(values)) refuse(field, "expected texts, got " + type_of(values));
  const Column& column = arrays_.emplace_back(column_of(values, field, ColumnUse::kIds));
  if (column.length() == 0) return TextColumn::each({});
  if (column.kind() != Column::Kind::kText) refuse(field, "expected texts, got numbers");
  if (column.has_dictionary()) return of_dictionaries(column);
  std::vector<std::string_view> views(static_cast<size_t>(column.length()));
  column.read_texts(0, column.length(), views.data());
  const bool nulls = column.first_null().has_value();
  for (size_t i = 0; i < views.size(); ++i) {
    if (nulls && column.is_null(static_cast<int64_t>(i))) {
      views[i] = TextColumn::kNone;
    } else if (views[i].data() == nullptr) {
      views[i] = "";  // an empty text need not have a place
    }
  }
  return TextColumn::each(std::move(views));
}

void UsageArguments::read_times(const py::object& values) {
  constexpr const char* kField = "times_ns";
  std::vector<int64_t>& times = columns_.times_ns;
  if (is_scalar(values) || is_list(values)) {
    const py::tuple items = is_scalar(values) ? py::make_tuple(values) : items_of(values);
    if (is_list(values)) expect_length(kField, columns_.events, items.size());
    for (const py::handle item : items) {
      if (!item.is_none() && PyLong_Check(item.ptr()) == 0) {
        refuse(kField, "expected int (Unix nanoseconds) or None, got " + type_of(item));
      }
      times.push_back(item.is_none() ? metering::kNoTime : item.cast<int64_t>());
    }
    if (is_scalar(values)) times.assign(columns_.events, times.front());
    return;
  }
  const Column column = column_of(values, kField, ColumnUse::kQuantities);
  expect_length(kField, columns_.events, static_cast<size_t>(column.length()));
  times.resize(columns_.events);
  if (column.kind() != Column::Kind::kWhole ||
      !column.read_wholes(0, column.length(), times.data())) {
    refuse(kField, "expected int64 (Unix nanoseconds)");
  }
  if (!column.first_null()) return;
  for (size_t i = 0; i < times.size(); ++i) {
    if (column.is_null(static_cast<int64_t>(i))) times[i] = metering::kNoTime;
  }
}

void UsageArguments::read_quantities(const py::object& values) {
  constexpr const char* kField = "quantities";
  if (is_scalar(values)) {
    columns_.quantities.assign(columns_.events, decimal_or_raise(values, kField).units());
    return;
  }
  const Column column = column_of(values, kField, ColumnUse::kQuantities);
  expect_length(kField, columns_.events, static_cast<size_t>(column.length()));
  if (const std::optional<int64_t> null = column.first_null()) {
    refuse(kField, "element " + std::to_string(*null) + " is missing");
  }
  if (column.kind() == Column::Kind::kText) refuse(kField, "expected numbers, got texts");
  columns_.quantities.resize(columns_.events);
  const int64_t bad = column.read_units(0, column.length(), columns_.quantities.data());
  if (bad >= 0) {
    refuse(kField, "element " + std::to_string(bad) +
                       ": expected less than 10^26 and at most 12 digits after the point");
  }
}

void UsageArguments::read_actions(const py::object& values) {
  const TextColumn names = texts(values, "actions");
  if (!names.covers(columns_.events)) {
    expect_length("actions", columns_.events, names.events());
  }
  columns_.actions.reserve(columns_.events);
  for (size_t i = 0; i < columns_.events; ++i) columns_.actions.push_back(action_of(names.at(i)));
}

}  // namespace tenancy
