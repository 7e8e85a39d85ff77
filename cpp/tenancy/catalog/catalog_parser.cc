#include "tenancy/catalog/catalog_parser.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "tenancy/catalog/amounts.h"
#include "tenancy/catalog/audit_reader.h"
#include "tenancy/catalog/entitlements.h"
#include "tenancy/catalog/limit_patch.h"
#include "tenancy/catalog/metric_reader.h"
#include "tenancy/catalog/names.h"
#include "tenancy/catalog/price_book.h"
#include "tenancy/catalog/price_reader.h"
#include "tenancy/catalog/quota_def.h"
#include "tenancy/catalog/roles.h"

namespace tenancy {

namespace {

constexpr int64_t kFormat = 1;
constexpr size_t kPlansMax = 256;
constexpr size_t kQuotasMax = 256;
constexpr size_t kActionsMax = 256;
constexpr size_t kFeaturesMax = 1024;
constexpr size_t kLimitsMax = 64;

void read_price(const Field& field, PlanPrice* price) {
  const std::string text = field.digits();
  if (text == "custom") {
    price->kind = PlanPrice::Kind::kCustom;
  } else if (is_price(text)) {
    price->kind = PlanPrice::Kind::kAmount;
    price->amount = text;
  } else {
    field.expected("a price such as 29 or 29.90 (0 is free), or \"custom\"");
  }
}

}  // namespace

CatalogParser::CatalogParser(const Field& document)
    : document_(document), catalog_(new Catalog()) {}

std::shared_ptr<const Catalog> CatalogParser::parse() {
  if (!document_.is_mapping_of(
          {"$schema",  "catalog",     "version",       "format", "default_plan", "default_action",
           "currency", "permissions", "builtin_roles", "roles",  "duties",       "features",
           "actions",  "quotas",      "limits",        "plans",  "price_books",  "audit",
           "metrics",  "metering",    "billing"})) {
    return catalog_;
  }
  header();
  features();
  quotas();
  actions();
  limits();
  price_books();
  catalog_->billing_ = read_billing_policy(member("billing"));  // plans have its period
  plans();
  check_price_books();
  access();
  catalog_->audit_ = read_audit_policy(member("audit"));
  catalog_->metrics_ = read_metric_defs(member("metrics"), catalog_->quotas_);
  catalog_->metering_ = read_metering_policy(member("metering"));
  defaults();
  return catalog_;
}

void CatalogParser::header() {
  if (const Field name = member("catalog"); name.present()) {
    catalog_->name_ = name.name().value_or("");
  } else {
    document_.error("\"catalog\" is missing: the name of this catalog");
  }
  catalog_->version_ = member("version").version();
  if (const Field format = member("format"); format.present()) {
    if (!format.json().is_integer() || format.json().as_integer() != kFormat) {
      format.expected("1, the format this release reads");
    }
  }
  catalog_->currency_ = read_currency_member(document_, "USD");
}

void CatalogParser::features() {
  const Field field = member("features");
  if (!field.present()) return;
  catalog_->features_ = field.texts(is_name, kNameRule);
  if (catalog_->features_.size() > kFeaturesMax) {
    field.error("expected at most " + std::to_string(kFeaturesMax) + " features");
    catalog_->features_.resize(kFeaturesMax);
  }
  if (std::ranges::find(catalog_->features_, kAllFeatures) != catalog_->features_.end()) {
    field.error("no feature may be named \"all\": in plans that stands for every feature");
  }
}

void CatalogParser::quotas() {
  const Field field = member("quotas");
  if (!field.present() || !field.is_mapping_within(kQuotasMax)) return;
  for (const auto& [name, value] : field.members()) {
    if (!is_name(name)) {
      value.error("the name of a quota must be " + std::string(kNameRule));
    } else {
      catalog_->quotas_.push_back(read_quota_def(name, value));
    }
  }
}

// A name that is none is reported where the list or the plan is read.
void CatalogParser::add_action(const Field& field, const std::string& name) {
  std::vector<std::string>& actions = catalog_->actions_;
  if (!is_name(name) || std::ranges::find(actions, name) != actions.end()) return;
  if (actions.size() == kActionsMax) {
    field.error("expected at most " + std::to_string(kActionsMax) + " actions");
    return;
  }
  actions.push_back(name);
}

// Either the document lists the actions, or they are those that plans name.
void CatalogParser::actions() {
  if (const Field declared = member("actions"); declared.present()) {
    for (const std::string& name : declared.texts(is_name, kNameRule)) {
      if (name == kDefaultLimit) {
        declared.error("no action may be named \"default\": that is the limit of all others");
      } else {
        add_action(declared, name);
      }
    }
    return;
  }
  const Field all = member("plans");
  if (!all.present() || !all.json().is_object()) return;
  for (const auto& [plan, value] : all.members()) {
    const Field limits = value.member("rate_limits");
    if (!limits.present() || !limits.json().is_object()) continue;
    for (const auto& [name, limit] : limits.members()) {
      if (name != kDefaultLimit) add_action(limit, name);
    }
  }
}

void CatalogParser::limits() {
  const Field field = member("limits");
  if (!field.present() || !field.is_mapping_within(kLimitsMax)) return;
  for (const auto& [name, value] : field.members()) {
    if (!is_name(name)) {
      value.error("the name of a limit must be " + std::string(kNameRule));
      continue;
    }
    const std::optional<LimitPatch> patch = read_limit(value, LimitPlace::kOutsidePlans);
    if (!patch) continue;
    if (!patch->scope) {
      value.error("\"scope\" is missing: write a mapping such as {scope: ip, limit: 600/minute}");
      continue;
    }
    LimitRule rule{name, 0, {}};
    apply(*patch, &rule);
    catalog_->limits_.push_back(std::move(rule));
  }
}

void CatalogParser::price_books() {
  catalog_->price_books_ = read_price_books(member("price_books"), catalog_->currency_);
}

// What plans say of books and books of plans.
void CatalogParser::check_price_books() const {
  std::vector<std::string_view> books = shipped_price_books();
  std::vector<std::string_view> plans;
  for (const auto& book : catalog_->price_books_) books.emplace_back(book->name);
  for (const Plan& plan : catalog_->plans_) plans.emplace_back(plan.name);
  for (size_t i = 0; i < catalog_->plans_.size(); ++i) {
    if (!plan_field(i).json().is_object()) continue;
    const Field named = plan_field(i).member("price_book");
    const std::string& book = catalog_->plans_[i].price_book;
    if (book.empty() || (!named.present() && !plan_field(i).member("price").present())) continue;
    if (std::ranges::find(books, std::string_view(book)) != books.end()) {
      check_plan_price(i);
    } else if (named.present()) {
      named.unknown("price book", book, books);
    }
  }
  for (const auto& book : catalog_->price_books_) {
    for (const auto& [plan, included] : book->plans) {
      if (catalog_->plan_index(plan) != kNoIndex) continue;
      const Field field = member("price_books").member(book->name).member("plans").member(plan);
      field.unknown("plan", plan, plans);
    }
  }
}

// Who reads "price: 49" expects to be paid it, and a plan with a book is billed by the book alone.
void CatalogParser::check_plan_price(size_t index) const {
  const Plan& plan = catalog_->plans_[index];
  if (plan.price.kind != PlanPrice::Kind::kAmount) return;
  const auto own = std::ranges::find(catalog_->price_books_, plan.price_book,
                                     [](const auto& book) { return book->name; });
  const bool ours = own != catalog_->price_books_.end();
  const Decimal fee = ours ? (*own)->base_fee : Decimal();  // those that ship have none
  const std::string& currency = ours ? (*own)->currency : plan.currency;
  const Result<Decimal> price = Decimal::parse(plan.price.amount);
  if (!price || (*price == fee && (currency == plan.currency || fee.is_zero()))) return;
  plan_field(index).member("price").error(
      "expected the base_fee of its price book \"" + plan.price_book + "\", " + fee.text() + " " +
      currency + ", by which the plan is billed, got " + plan.price.amount + " " + plan.currency +
      (ours ? "; make them equal, or leave the price out"
            : "; leave the price out, or define a book with this base_fee"));
}

Field CatalogParser::plan_field(size_t index) const {
  return member("plans").member(catalog_->plans_[index].name);
}

void CatalogParser::plans() {
  const Field field = member("plans");
  if (!field.present()) {
    document_.error("\"plans\" is missing: a mapping with at least one plan");
    return;
  }
  if (!field.is_mapping_within(kPlansMax)) return;
  if (field.json().as_object().empty()) field.error("expected at least one plan");
  for (const auto& [name, value] : field.members()) {
    if (!is_name(name)) {
      value.error("the name of a plan must be " + std::string(kNameRule));
      continue;
    }
    Plan plan;
    plan.name = name;
    plan_header(value, &plan);
    catalog_->plans_.push_back(std::move(plan));
  }
  catalog_->index_names();
  resolve_plans();
}

void CatalogParser::plan_header(const Field& field, Plan* plan) const {
  plan->title = plan->name;
  plan->price_period = catalog_->billing_.period;
  if (!field.is_mapping_of({"title", "price", "period", "currency", "features", "quotas",
                            "rate_limits", "isolation", "retention_days", "price_book",
                            "extends"})) {
    return;
  }
  if (const Field title = field.member("title"); title.present()) {
    plan->title = title.text("a title").value_or("");
  }
  if (const Field price = field.member("price"); price.present()) read_price(price, &plan->price);
  if (const Field period = field.member("period"); period.present()) {
    const std::optional<size_t> unit =
        period.choice({"minute", "hour", "day", "week", "month", "quarter", "year"});
    if (unit) plan->price_period = static_cast<PeriodUnit>(*unit);
  }
  plan->currency = read_currency_member(field, catalog_->currency_);
  if (const Field book = field.member("price_book"); book.present()) {
    plan->price_book = book.name().value_or("");
  }
}

void CatalogParser::resolve_plans() {
  resolved_.assign(catalog_->plans_.size(), false);
  for (size_t i = 0; i < catalog_->plans_.size(); ++i) {
    // The plans from this one up to one that is resolved or extends none, resolved from there
    // downwards.
    std::vector<size_t> chain;
    size_t at = i;
    while (!resolved_[at]) {
      const auto on_way = std::ranges::find(chain, at);
      if (on_way != chain.end()) {
        std::string cycle;
        for (auto each = on_way; each != chain.end(); ++each) {
          cycle += catalog_->plans_[*each].name + " → ";
        }
        plan_field(at).member("extends").error("plans may not extend themselves: " + cycle +
                                               catalog_->plans_[at].name + "; remove one of these");
        break;
      }
      chain.push_back(at);
      const Field extends = plan_field(at).member("extends");
      if (!extends.present() || !extends.json().is_string()) break;
      const uint32_t base = catalog_->plan_index(extends.json().as_string());
      if (base == kNoIndex) break;
      at = base;
    }
    std::ranges::reverse(chain);
    for (const size_t each : chain) resolve_plan(each);
  }
  for (const Plan& plan : catalog_->plans_) {
    catalog_->plan_entitlements_.push_back(std::make_shared<const Entitlements>(plan.entitlements));
  }
}

// Everything it extends is resolved, or was reported.
void CatalogParser::resolve_plan(size_t index) {
  resolved_[index] = true;
  const Field field = plan_field(index);
  Plan& plan = catalog_->plans_[index];
  plan.entitlements = no_entitlements(*catalog_);
  if (!field.json().is_object()) return;
  if (const Field extends = field.member("extends"); extends.present()) {
    const std::string base_name = extends.json().is_string() ? extends.json().as_string() : "";
    const uint32_t base = catalog_->plan_index(base_name);
    if (!extends.json().is_string()) {
      extends.expected("the name of a plan");
    } else if (base == kNoIndex) {
      std::vector<std::string_view> known;
      for (const Plan& other : catalog_->plans_) {
        if (other.name != plan.name) known.emplace_back(other.name);
      }
      extends.unknown("plan", base_name, known);
    } else if (resolved_[base] && base != index) {
      plan.entitlements = catalog_->plans_[base].entitlements;
      if (plan.price_book.empty()) plan.price_book = catalog_->plans_[base].price_book;
    }
  }
  plan.entitlements.plan = plan.name;
  plan.entitlements.plan_index = static_cast<uint32_t>(index);
  merge_entitlements(field, *catalog_, Origin::kPlan, &plan.entitlements);
  const std::vector<bool>& on = plan.entitlements.features;
  plan.all_features = !on.empty() && std::ranges::find(on, false) == on.end();
}

void CatalogParser::access() {
  catalog_->permissions_ = read_permissions(member("permissions"));
  bool ready = true;
  if (const Field builtin = member("builtin_roles"); builtin.present()) {
    ready = builtin.boolean().value_or(true);
  }
  catalog_->roles_ = read_roles(member("roles"), ready, catalog_->permissions_);
  catalog_->duties_ = read_duties(member("duties"), catalog_->roles_);
}

void CatalogParser::defaults() {
  if (const Field field = member("default_plan"); field.present()) {
    if (!field.json().is_string()) {
      field.expected("the name of a plan");
    } else {
      const std::string& name = field.json().as_string();
      catalog_->default_plan_ = catalog_->plan_index(name);
      std::vector<std::string_view> known;
      for (const Plan& plan : catalog_->plans_) known.emplace_back(plan.name);
      if (catalog_->default_plan_ == kNoIndex) field.unknown("plan", name, known);
    }
  }
  if (const Field field = member("default_action"); field.present()) {
    if (!field.json().is_string()) {
      field.expected("the name of an action");
      return;
    }
    const std::string& name = field.json().as_string();
    catalog_->default_action_ = catalog_->action_index(name);
    const std::vector<std::string_view> known(catalog_->actions_.begin(), catalog_->actions_.end());
    if (catalog_->default_action_ == kNoIndex) field.unknown("action", name, known);
  }
}

}  // namespace tenancy
