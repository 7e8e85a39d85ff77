// CatalogParser: makes a Catalog from a document, or finds everything that is wrong with it.
//
// What has a name is defined first (features, quotas, actions), then what refers to it (plans,
// roles), so that one wrong definition is one error and not one for each use.
//
// Thread safety: one thread, one document, once.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tenancy/catalog/catalog.h"
#include "tenancy/catalog/fields.h"

namespace tenancy {

class CatalogParser {
 public:
  explicit CatalogParser(const Field& document);

  // What could be read. It is a valid catalog only when no error was reported.
  std::shared_ptr<const Catalog> parse();

 private:
  void header();
  void features();
  void quotas();
  void actions();
  void add_action(const Field& field, const std::string& name);
  void limits();
  void price_books();
  void plans();
  void check_price_books() const;
  void check_plan_price(size_t index) const;
  void resolve_plans();
  void resolve_plan(size_t index);
  void plan_header(const Field& field, Plan* plan) const;
  void access();
  void defaults();

  Field member(std::string_view name) const { return document_.member(name); }
  Field plan_field(size_t index) const;

  const Field document_;
  std::shared_ptr<Catalog> catalog_;
  std::vector<bool> resolved_;  // per plan
};

}  // namespace tenancy
