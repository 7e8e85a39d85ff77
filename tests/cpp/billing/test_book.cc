#include <algorithm>

#include "prices.h"
#include "tenancy/billing/book.h"

using namespace tenancy;
using namespace tenancy::test;

namespace {

std::shared_ptr<const PriceBook> book(std::string json) {
  for (char& c : json) c = c == '\'' ? '"' : c;
  std::vector<CatalogError> errors;
  const auto def = parse_price_book(*Json::parse(json), &errors);
  if (def == nullptr) FAIL(errors.front().path << ": " << errors.front().message);
  auto made = PriceBook::make(*def);
  REQUIRE(made.ok());
  return *made;
}

std::string lines(const Result<BookAmount>& amount) {
  if (!amount.ok()) return amount.error().message;
  std::string text;
  for (const auto& [name, value] : amount->lines) text += name + " " + value.text() + "; ";
  return text + "= " + amount->total.text();
}

const char* const kBook =
    "{'price_book': 'b', 'currency': 'USD', 'base_fee': 10, 'minimum': 30, 'maximum': 100,"
    " 'seats': {'unit': 12, 'included': 3}, 'metrics': {'calls': 0.5, 'gb': {'unit': 2,"
    " 'base_fee': 1}}, 'plans': {'team': {'included': {'calls': 10}}}}";

}  // namespace

TEST_CASE("a book sums its charges; minimum and maximum are lines") {
  const auto tested = book(kBook);
  CHECK(lines(tested->amount({{"calls", dec("4")}}, dec("5"))) ==
        "calls 2; gb 1; seats 24; base_fee 10; = 37");
  CHECK(lines(tested->amount({}, std::nullopt)) ==
        "calls 0; gb 1; seats 0; base_fee 10; minimum 19; = 30");
  CHECK(lines(tested->amount({{"gb", dec("100")}}, dec("3"))) ==
        "calls 0; gb 201; seats 0; base_fee 10; maximum -111; = 100");
  CHECK(lines(tested->amount({{"call", dec("1")}}, std::nullopt)) ==
        "unknown metric \"call\"; did you mean \"calls\"?");
}

TEST_CASE("usage of a metric that is given twice is refused, not overwritten") {
  const auto tested = book(kBook);
  CHECK(lines(tested->amount({{"calls", dec("4")}, {"calls", dec("5")}}, std::nullopt)) ==
        "the metric \"calls\" is given twice");
  const std::vector<int64_t> calls{1};
  const Column column = Column::of_wholes(calls.data(), 8, true, 1, nullptr);
  const auto totals = tested->amounts({{"calls", &column}, {"calls", &column}}, nullptr, 1);
  REQUIRE_FALSE(totals.ok());
  CHECK(totals.error().message == "the metric \"calls\" is given twice");
}

TEST_CASE("a plan's included units") {
  const auto tested = book(kBook);
  const auto team = tested->for_plan("team");
  REQUIRE(team.ok());
  CHECK(text((*team)->price("calls")->amount(dec("12"))) == "1");
  CHECK(text(tested->price("calls")->amount(dec("12"))) == "6");
  CHECK(tested->for_plan("teem").error().message ==
        "unknown plan \"teem\"; did you mean \"team\"?");
}

TEST_CASE("totals of columns are those of single rows") {
  const auto tested = book(kBook);
  const std::vector<int64_t> calls{0, 4, 100, 1000};
  const std::vector<int64_t> gb{0, 1, 20, 5};
  const Column call_column = Column::of_wholes(calls.data(), 8, true, 4, nullptr);
  const Column gb_column = Column::of_wholes(gb.data(), 8, true, 4, nullptr);
  const auto totals = tested->amounts({{"calls", &call_column}, {"gb", &gb_column}}, nullptr, 2);
  REQUIRE(totals.ok());
  for (size_t i = 0; i < calls.size(); ++i) {
    const auto single = tested->amount({{"calls", Decimal(calls[i])}, {"gb", Decimal(gb[i])}}, {});
    REQUIRE(single.ok());
    CHECK(Decimal::from_units(totals->units.get()[i])->text() == single->total.text());
  }
  const Column shorter = Column::of_wholes(gb.data(), 8, true, 3, nullptr);
  CHECK(tested->amounts({{"calls", &call_column}, {"gb", &shorter}}, nullptr, 2).error().message ==
        "the columns have different lengths: 4 and 3");
  const std::vector<int64_t> seats{3, 4, 0, 30};
  const Column seat_column = Column::of_wholes(seats.data(), 8, true, 4, nullptr);
  const auto seated = tested->amounts({{"calls", &call_column}}, &seat_column, 2);
  REQUIRE(seated.ok());
  for (size_t i = 0; i < calls.size(); ++i) {
    const auto single = tested->amount({{"calls", Decimal(calls[i])}}, Decimal(seats[i]));
    REQUIRE(single.ok());
    CHECK(Decimal::from_units(seated->units.get()[i])->text() == single->total.text());
  }
}

TEST_CASE("totals and errors of many rows do not depend on the number of threads") {
  const auto tested = book(kBook);
  constexpr int64_t kCount = 100'000;
  std::vector<int64_t> calls(kCount);
  std::vector<int64_t> gb(kCount);
  for (int64_t i = 0; i < kCount; ++i) {
    calls[static_cast<size_t>(i)] = i % 1013;
    gb[static_cast<size_t>(i)] = i / 777;
  }
  const Column call_column = Column::of_wholes(calls.data(), 8, true, kCount, nullptr);
  const Column gb_column = Column::of_wholes(gb.data(), 8, true, kCount, nullptr);
  const PriceBook::Columns columns{{"calls", &call_column}, {"gb", &gb_column}};
  const auto alone = tested->amounts(columns, nullptr, 1);
  REQUIRE(alone.ok());
  for (const int64_t row : {int64_t{0}, int64_t{49'999}, int64_t{50'176}, kCount - 1}) {
    const auto at = static_cast<size_t>(row);
    const auto single =
        tested->amount({{"calls", Decimal(calls[at])}, {"gb", Decimal(gb[at])}}, {});
    CHECK((alone->units.get()[row] == single->total.units()));
  }
  for (const unsigned threads : {2U, 3U}) {
    const auto shared = tested->amounts(columns, nullptr, threads);
    REQUIRE(shared.ok());
    CHECK(std::equal(alone->units.get(), alone->units.get() + kCount, shared->units.get()));
  }
  calls[70'000] = -1;
  gb[20'000] = -1;
  for (const unsigned threads : {1U, 2U, 3U}) {
    const std::string message = tested->amounts(columns, nullptr, threads).error().message;
    CHECK(message.starts_with("gb: element 20000: "));
  }
}
