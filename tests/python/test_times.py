"""Times that no clock reaches are refused where they come in, whatever their form."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store_support import make_clock, open_shop
from tenancy._text import deadline_ns, duration_ns, to_ns
from tenancy.errors import InvalidValue

FAR = datetime(2999, 1, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize("moment", [FAR, 1e30, -1e30, math.inf, math.nan, 10**400])
def test_a_moment_beyond_the_store_is_refused(moment: Any) -> None:
    with pytest.raises(InvalidValue, match="since"):
        to_ns(moment, "since")


@pytest.mark.parametrize("length", [timedelta.max, -1, 1e30, math.inf, math.nan, 10**400])
def test_so_is_a_length_of_time(length: Any) -> None:
    with pytest.raises(InvalidValue, match="grace"):
        duration_ns(length, "grace")
    with pytest.raises(InvalidValue):
        deadline_ns(length, 10**18, "expires")


@given(st.floats(), st.datetimes(timezones=st.just(timezone.utc)))
def test_what_is_taken_fits_the_store(seconds: float, moment: datetime) -> None:
    for value in (seconds, moment):
        try:
            found = to_ns(value, "since")
        except InvalidValue:
            continue
        assert -(2**63) < found < 2**63


def test_services_say_so(tmp_path: Path) -> None:
    with open_shop(tmp_path, make_clock()) as t:
        tenant = t.tenants.create(name="Acme", slug="acme")
        with pytest.raises(InvalidValue, match="since"):
            t.audit.search(tenant, since=FAR)
        with pytest.raises(InvalidValue, match="expires"):
            t.keys.create(tenant, principal="joe", expires=FAR)
