// PriceCompiler: turns a price definition into the segments of a Price. Internal to this layer.
//
// Thread safety: one thread, one definition, once.
#pragma once

#include <utility>

#include "tenancy/billing/price.h"

namespace tenancy {

class PriceCompiler {
 public:
  explicit PriceCompiler(PriceDef def) { price_.def_ = std::move(def); }
  Result<Price> compile();

 private:
  // One tier with the quantities it covers, included units counted in: above `lower`, to `upper`;
  // `tier.up_to` is the bound itself.
  struct Cell {
    Int128 upper;
    Decimal lower;
    TierDef tier;
  };

  std::vector<Cell> cells() const;
  Int128 last_quantity(Decimal bound) const;
  bool add_no_usage(const Cell& first);
  bool add_cell(const Cell& cell, bool last);
  std::optional<Decimal> line(std::optional<Decimal> value) const;
  void make_whole_segments();
  int64_t safe_quantity() const;

  const PriceDef& def() const { return price_.def_; }
  bool by_volume() const {
    return def().model == PriceModel::kVolume || def().model == PriceModel::kStairstep;
  }

  Price price_;
  Decimal below_;  // the base fee and what the tiers below cost together
};

}  // namespace tenancy
