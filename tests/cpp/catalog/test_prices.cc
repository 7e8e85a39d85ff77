#include "catalogs.h"
#include "tenancy/catalog/price_book.h"
#include "tenancy/catalog/price_rules.h"

using namespace tenancy;
using namespace tenancy::test;

namespace {

std::string price_errors(std::string_view text) {
  std::vector<CatalogError> errors;
  const auto price = parse_price(json(text), &errors);
  CHECK(price.has_value() == errors.empty());
  return lines(errors);
}

std::string book_errors(std::string_view text) {
  std::vector<CatalogError> errors;
  const auto book = parse_price_book(json(text), &errors);
  CHECK((book == nullptr) == !errors.empty());
  return lines(errors);
}

}  // namespace

TEST_CASE("tiers: overlapping, unordered, missing the last, open in the middle") {
  CHECK(price_errors(R"({"tiers": [{"up_to": 10, "unit": 1}, {"up_to": 10, "unit": 1},
                                   {"unit": 1}]})") ==
        "tiers[1].up_to: tiers must ascend without overlap: 10 is not above 10, the bound of the "
        "tier before\n");
  CHECK(price_errors(R"({"tiers": [{"up_to": 10, "unit": 1}, {"up_to": 5, "unit": 1},
                                   {"unit": 1}]})") ==
        "tiers[1].up_to: tiers must ascend without overlap: 5 is not above 10, the bound of the "
        "tier before\n");
  CHECK(
      price_errors(R"({"tiers": [{"up_to": 10, "unit": 1}, {"up_to": 20, "unit": 1}]})") ==
      "tiers[1].up_to: the last tier must be open: leave its \"up_to\" out, or add a tier without "
      "one for what lies above 20\n");
  CHECK(price_errors(R"({"tiers": [{"unit": 1}, {"unit": 1}]})") ==
        "tiers[0]: only the last tier may be open: give this one an \"up_to\"\n");
  CHECK(price_errors(R"({"tiers": []})") == "tiers: expected 1 to 100 tiers, got 0\n");
  CHECK(price_errors(R"({"tiers": [{"up_to": 0, "unit": 1}, {"unit": 1}]})") ==
        "tiers[0].up_to: expected a bound above 0, got 0\n");
  CHECK(price_errors(R"({"tiers": [{"up_to": 5}, {"unit": 1}]})") ==
        "tiers[0]: this tier has no price: give \"unit\", \"flat\" or both (0 is free)\n");
}

TEST_CASE("numbers that are none, and members that are not there") {
  CHECK(price_errors("-1") == ": expected a price from 0, or a mapping with \"model\", got -1\n");
  CHECK(price_errors(R"("NaN")") ==
        ": expected a decimal number such as 12, -0.5 or 1e-3, got \"NaN\"\n");
  CHECK(price_errors("0.0000000000001") ==
        ": expected at most 12 digits after the point, got \"0.0000000000001\"; round it first\n");
  CHECK(price_errors(R"({"model": "package", "unit": 1})") ==
        ": \"package\" is missing: how many units are sold together\n");
  CHECK(price_errors(R"({"model": "package", "unit": 1, "package": 0})") ==
        "package: expected a number of units above 0, got 0\n");
  CHECK(price_errors(R"({"model": "stairstep", "tiers": [{"unit": 1}]})")
            .starts_with("tiers[0].unit: unknown key \"unit\""));
  CHECK(price_errors(R"({"unit": 1, "minimum": 5, "maximum": 4})") ==
        "minimum: must not be above \"maximum\", which is 4\n");
  CHECK(price_errors(R"({"unit": 1, "prise": 2})").find("unknown key \"prise\"") !=
        std::string::npos);
  CHECK(price_errors(R"({"model": "percentage", "rate": 0.00000000001})") ==
        "rate: expected a percentage of at most 10 digits after the point, got 0.00000000001\n");
}

TEST_CASE("currencies and rules") {
  CHECK(price_errors(R"({"unit": 1, "currency": "XAU"})") ==
        "currency: expected a currency of ISO 4217 that has a minor unit, such as \"USD\", got "
        "\"XAU\"\n");
  CHECK(price_errors(R"({"unit": 1, "rules": "stripe"})") ==
        ": \"currency\" is missing: these rules round to its minor unit\n");
  CHECK(price_errors(R"({"unit": 1, "rules": "strype"})") ==
        "rules: unknown preset \"strype\"; did you mean \"stripe\"?\n");
  CHECK(price_errors(R"({"unit": 1, "rules": {"fraction": "ceil"}})")
            .starts_with("rules.fraction: expected \"exact\", \"up\""));
  for (const std::string_view name : rules_presets()) CHECK(rules_preset(name).has_value());
  const PriceRules base;
  const Json options = json(R"({"preset": "lago", "negative": "refuse"})");
  ErrorList errors;
  const PriceRules read = read_rules(Field(&options, "", &errors), base);
  CHECK(read.negative == NegativeUsage::kRefuse);
  CHECK(read.round_at == RoundAt::kCharge);
  CHECK(errors.empty());
}

TEST_CASE("price books: mixed currencies, unknown metrics and plans") {
  CHECK(
      book_errors(R"({"price_book": "b", "currency": "USD",
                        "metrics": {"a": {"unit": 1, "currency": "EUR"}}})") ==
      "metrics.a.currency: mixed currencies: the book is in USD, this price in EUR; make one book "
      "for each currency\n");
  CHECK(book_errors(R"({"metrics": {}})") ==
        ": \"price_book\" is missing: the name of this price book\n"
        ": \"currency\" is missing: a code of ISO 4217 such as USD\n"
        "metrics: expected at least one metric\n");
  CHECK(book_errors(R"({"price_book": "b", "currency": "USD", "metrics": {"calls": 1},
                        "plans": {"p": {"included": {"stamps": 1}}}})") ==
        "plans.p.included.stamps: unknown metric \"stamps\"; expected \"calls\"\n");
  CHECK(errors_of(with(R"("plans": {"free": {}}, "price_books": {
      "b": {"metrics": {"a": 1}, "plans": {"fre": {}}}})")) ==
        "price_books.b.plans.fre: unknown plan \"fre\"; did you mean \"free\"?\n");
  CHECK(errors_of(with(R"("plans": {"free": {"price_book": "bok"}},
                          "price_books": {"book": {"metrics": {"a": 1}}})")) ==
        "plans.free.price_book: unknown price book \"bok\"; did you mean \"book\"?\n");
  CHECK(errors_of(with(R"("plans": {"free": {"price_book": "llm-tokens"}})")).empty());
}

TEST_CASE("a plan's price is the base fee of its book, by which alone the plan is billed") {
  const auto told = [](const std::string& plan, const std::string& book) {
    return errors_of(with(R"("currency": "EUR", "plans": {"free": {}, "p": )" + plan +
                          R"(}, "price_books": {"b": {"metrics": {"a": 1})" + book + "}}"));
  };
  const std::string priced = R"({"price": 49, "price_book": "b"})";
  CHECK(told(priced, "") ==
        "plans.p.price: expected the base_fee of its price book \"b\", 0 EUR, by which the plan is "
        "billed, got 49 EUR; make them equal, or leave the price out\n");
  CHECK(told(priced, R"(, "base_fee": 49.00)").empty());
  CHECK(told(priced, R"(, "base_fee": 49, "currency": "USD")").find("49 USD") != std::string::npos);
  CHECK(told(R"({"price": 0, "price_book": "b"})", R"(, "base_fee": 29)").find("29 EUR") !=
        std::string::npos);
  CHECK(told(R"({"price": 0, "price_book": "b"})", "").empty());
  CHECK(told(R"({"price": "custom", "price_book": "b"})", R"(, "base_fee": 29)").empty());
  CHECK(told(R"({"price_book": "b"})", R"(, "base_fee": 29)").empty());
  CHECK(told(R"({"price": 9, "price_book": "tiered"})", "").find("define a book") !=
        std::string::npos);
  // Inherited, whichever of them it is.
  const std::string base = R"({"price_book": "b"}, "q": {"extends": "p", "price": 7})";
  CHECK(told(base, "").starts_with("plans.q.price: "));
  CHECK(told(base, R"(, "base_fee": 7)").empty());
}

TEST_CASE("a catalog's books have its currency unless they say another") {
  const auto catalog = valid(with(R"("currency": "EUR", "price_books": {
      "a": {"metrics": {"calls": 0.5}}, "b": {"currency": "JPY", "metrics": {"calls": 5}}})"));
  REQUIRE(catalog->price_books().size() == 2);
  CHECK(catalog->price_books()[0]->currency == "EUR");
  CHECK(catalog->price_books()[1]->currency == "JPY");
  CHECK(catalog->price_books()[1]->metrics[0].price.currency == "JPY");
}

TEST_CASE("a catalog's currency is one that amounts can be rounded to") {
  // Else a book that rounds lines would round them to the twelfth digit.
  CHECK(errors_of(with(R"("currency": "XYZ", "price_books": {
      "a": {"rules": "stripe", "metrics": {"calls": 0.5}}})")) ==
        "currency: expected a currency of ISO 4217 that has a minor unit, such as \"USD\", "
        "got \"XYZ\"\n");
  CHECK(errors_of(with(R"("plans": {"free": {"currency": "XAU"}})")) ==
        "plans.free.currency: expected a currency of ISO 4217 that has a minor unit, such as "
        "\"USD\", got \"XAU\"\n");
}
