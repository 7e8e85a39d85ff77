// Price books, and usage summed and priced.
#include <memory>
#include <string>
#include <vector>

#include "pricing_types.h"
#include "tenancy/billing/aggregate.h"
#include "tenancy/catalog/catalog.h"
#include "tenancy/catalog/price_book.h"
#include "tenancy/catalog/price_rules.h"

namespace tenancy {
namespace {

using BookPointer = std::shared_ptr<PriceBook>;

// pybind11 holders cannot be const; nothing bound here changes a book.
BookPointer holder(std::shared_ptr<const PriceBook> book) {
  return std::const_pointer_cast<PriceBook>(std::move(book));
}

py::dict rules_dict(const PriceRules& rules) {
  py::dict result;
  for (const auto& [name, value] : rules_text(rules)) result[to_str(name)] = value;
  return result;
}

// --- price books

py::object parse_book(const py::str& text) {
  const Json document = value_or_raise(Json::parse(utf8_view(text)));
  std::vector<CatalogError> errors;
  const std::shared_ptr<const PriceBookDef> def = parse_price_book(document, &errors);
  if (def != nullptr) {
    return py::cast(holder(value_or_invalid(PriceBook::make(*def), "price_book")));
  }
  py::list result;
  for (const CatalogError& each : errors) result.append(py::make_tuple(each.path, each.message));
  return result;
}

py::object book_of_catalog(const Catalog& catalog, const py::str& name) {
  for (const auto& book : catalog.price_books()) {
    if (book->name == utf8_view(name)) {
      return py::cast(holder(value_or_invalid(PriceBook::make(*book), "price_book")));
    }
  }
  return py::none();
}

py::object price_or_none(std::shared_ptr<const Price> price) {
  if (price == nullptr) return py::none();
  PyObject* made = new_price_core(std::move(price));
  if (made == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(made);
}

py::object optional_decimal(const std::optional<Decimal>& value) {
  return value ? to_decimal(*value) : py::object(py::none());
}

py::dict describe_book(const PriceBook& book) {
  const PriceBookDef& def = book.def();
  py::dict metrics;
  for (size_t i = 0; i < def.metrics.size(); ++i) {
    metrics[to_str(def.metrics[i].metric)] = price_or_none(book.prices()[i]);
  }
  py::dict plans;
  for (const auto& [plan, included] : def.plans) {
    py::dict units;
    for (const auto& [metric, quantity] : included) units[to_str(metric)] = to_decimal(quantity);
    plans[to_str(plan)] = units;
  }
  py::dict result;
  result["name"] = def.name;
  result["version"] = def.version;
  result["currency"] = def.currency;
  result["rules"] = rules_dict(def.rules);
  result["base_fee"] = to_decimal(def.base_fee);
  result["minimum"] = optional_decimal(def.minimum);
  result["maximum"] = optional_decimal(def.maximum);
  result["metrics"] = metrics;
  result["seats"] = price_or_none(book.seats());
  result["plans"] = plans;
  return result;
}

py::tuple book_amount(const PriceBook& book, const py::dict& usage, const py::object& seats) {
  PriceBook::Usage quantities;
  for (const auto& [metric, quantity] : usage) {
    const std::string name(utf8_view(metric));
    quantities.emplace_back(name, decimal_or_raise(quantity, name.c_str()));
  }
  std::optional<Decimal> seat_count;
  if (!seats.is_none()) seat_count = decimal_or_raise(seats, "seats");
  const BookAmount amount = value_or_invalid(book.amount(quantities, seat_count), "usage");
  py::list lines;
  for (const auto& [name, value] : amount.lines) {
    lines.append(py::make_tuple(name, to_decimal(value)));
  }
  return py::make_tuple(to_decimal(amount.total), lines);
}

Amounts book_amounts(const PriceBook& book, const py::dict& usage, const py::object& seats) {
  std::vector<Column> columns;
  columns.reserve(usage.size());
  PriceBook::Columns named;
  for (const auto& [metric, values] : usage) {
    const std::string name(utf8_view(metric));
    columns.push_back(column_of(values, name.c_str(), ColumnUse::kQuantities));
    named.emplace_back(name, &columns.back());
  }
  std::optional<Column> seat_column;
  if (!seats.is_none()) seat_column = column_of(seats, "seats", ColumnUse::kQuantities);
  Result<Amounts> totals = [&] {
    const py::gil_scoped_release release;
    return book.amounts(named, seat_column ? &*seat_column : nullptr, kThreadsMax);
  }();
  return value_or_invalid(std::move(totals), "usage");
}

void bind_books(py::module_& module) {
  module.def("price_rules", [] {
    py::dict presets;
    for (const std::string_view name : rules_presets()) {
      presets[to_str(name)] = rules_dict(*rules_preset(name));
    }
    return presets;
  });
  module.def("shipped_price_books", [] {
    py::list names;
    for (const std::string_view name : shipped_price_books()) names.append(to_str(name));
    return names;
  });
  py::class_<PriceBook, BookPointer>(module, "PriceBook")
      .def_static("parse", &parse_book, py::arg("json"))
      .def_static("of_catalog", &book_of_catalog, py::arg("catalog"), py::arg("name"))
      .def("describe", &describe_book)
      .def("amount", &book_amount, py::arg("usage"), py::arg("seats"))
      .def("amounts", &book_amounts, py::arg("usage"), py::arg("seats") = py::none())
      .def(
          "for_plan",
          [](const PriceBook& book, const py::str& plan) {
            return holder(value_or_invalid(book.for_plan(utf8_view(plan)), "plan"));
          },
          py::arg("plan"));
}

// --- usage

py::dict rate_usage(const py::object& tenants, const py::object& metrics,
                    const py::object& quantities, const py::list& names, const py::object& prices) {
  UsageEvents events;
  for (const py::handle name : names) events.metric_names.emplace_back(utf8_view(name));
  std::vector<std::shared_ptr<const Price>> held;
  std::vector<const Price*> by_metric;
  if (!prices.is_none()) {
    for (const py::handle price : prices) {
      held.push_back(price_of(price));
      by_metric.push_back(held.back().get());
    }
  }
  const Column tenant_column = column_of(tenants, "tenants", ColumnUse::kIds);
  std::optional<Column> metric_column;
  std::optional<Column> quantity_column;
  if (!metrics.is_none()) metric_column = column_of(metrics, "metrics", ColumnUse::kIds);
  if (!quantities.is_none()) {
    quantity_column = column_of(quantities, "quantities", ColumnUse::kQuantities);
  }
  events.tenants = &tenant_column;
  events.metrics = metric_column ? &*metric_column : nullptr;
  events.quantities = quantity_column ? &*quantity_column : nullptr;
  Amounts amounts;
  Result<UsageSums> sums = [&]() -> Result<UsageSums> {
    const py::gil_scoped_release release;
    Result<UsageSums> summed = sum_usage(events, kThreadsMax);
    if (!summed.ok() || by_metric.empty()) return summed;
    Result<Amounts> priced = price_sums(*summed, by_metric, events.metric_names);
    if (!priced.ok()) return priced.error();
    amounts = std::move(priced).value();
    return summed;
  }();
  auto rows = std::make_shared<UsageSums>(value_or_invalid(std::move(sums), "usage"));
  py::dict result;
  result["quantities"] = rows->quantities;
  if (!by_metric.empty()) result["amounts"] = amounts;
  result["rows"] = rows;
  return result;
}

// One object for each tenant, however many rows it has.
py::list tenant_list(const UsageSums& sums) {
  std::vector<py::object> tenants;
  for (const std::string& text : sums.tenant_texts) tenants.push_back(to_str(text));
  for (const int64_t number : sums.tenant_numbers) tenants.push_back(py::int_(number));
  py::list result(sums.tenants.size());
  for (size_t i = 0; i < sums.tenants.size(); ++i) result[i] = tenants[sums.tenants[i]];
  return result;
}

template <class T>
py::list number_list(const std::vector<T>& values) {
  py::list result(values.size());
  for (size_t i = 0; i < values.size(); ++i) result[i] = py::int_(values[i]);
  return result;
}

void bind_usage(py::module_& module) {
  py::class_<UsageSums, std::shared_ptr<UsageSums>>(module, "UsageSums")
      .def("tenants", &tenant_list)
      .def("metrics", [](const UsageSums& sums) { return number_list(sums.metrics); })
      .def("events", [](const UsageSums& sums) { return number_list(sums.events); });
  module.def("rate_usage", &rate_usage, py::arg("tenants"), py::arg("metrics"),
             py::arg("quantities"), py::arg("names"), py::arg("prices"));
}

}  // namespace

void bind_pricing(py::module_& module) {
  bind_money(module);
  bind_frames(module);
  bind_amounts(module);
  bind_samples(module);
  bind_price_core(module);
  bind_books(module);
  bind_usage(module);
}

}  // namespace tenancy
