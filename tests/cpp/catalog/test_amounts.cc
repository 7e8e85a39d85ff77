#include "catalogs.h"
#include "tenancy/catalog/amounts.h"

using namespace tenancy;

TEST_CASE("sizes: GB is 10^9, GiB is 2^30, fractions must be whole bytes") {
  CHECK(parse_size("0 B") == 0);
  CHECK(parse_size("10 GB") == 10'000'000'000);
  CHECK(parse_size("10GB") == 10'000'000'000);
  CHECK(parse_size("100 MiB") == 104'857'600);
  CHECK(parse_size("1 GiB") == 1'073'741'824);
  CHECK(parse_size("1 TB") == 1'000'000'000'000);
  CHECK(parse_size("1.5 TiB") == 1'649'267'441'664);
  CHECK(parse_size("0.5 kB") == 500);
  CHECK(parse_size("1.000 B") == 1);
  CHECK(parse_size("888 PiB") == 999'799'117'276'250'112);
  CHECK(parse_size("1000 PB") == 1'000'000'000'000'000'000);
}

TEST_CASE("what is no size") {
  for (const char* bad : {"",
                          "GB",
                          "10",
                          "10 gb",
                          "10 Gb",
                          "-1 GB",
                          "1,5 GB",
                          "1.5.5 GB",
                          ".5 GB",
                          "5. GB",
                          "0.3 B",
                          "0.0001 kB",
                          "10 GB ",
                          " 10 GB",
                          "10 GB/s",
                          "1e3 B",
                          "889 PiB",
                          "1001 PB",
                          "9999999999999999999 B",
                          "0x10 B",
                          "1\n GB"}) {
    INFO(bad);
    CHECK_FALSE(parse_size(bad).has_value());
  }
}

TEST_CASE("prices are plain decimal digits") {
  for (const char* good : {"0", "29", "29.90", "0.000000000001", "999999999999999999"}) {
    INFO(good);
    CHECK(is_price(good));
  }
  for (const char* bad : {"", "-1", "+1", "1e3", "1.", ".5", "1,000", "NaN", "0.0000000000001",
                          "1000000000000000000", "29 USD"}) {
    INFO(bad);
    CHECK_FALSE(is_price(bad));
  }
}
