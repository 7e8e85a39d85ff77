"""`tenancy usage aggregate … --plot file.png`: usage over time as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from .. import plots
from ..errors import ExtraMissing, InvalidValue

__all__ = ["Plot", "save_usage"]

Plot = Annotated[
    Path | None,
    typer.Option("--plot", help="Also draw it into this file (.png, .svg or .pdf)."),
]

_SUFFIXES = (".pdf", ".png", ".svg")


def save_usage(
    path: Path,
    points: Sequence[tuple[datetime, Decimal]],
    *,
    unit: str | None = None,
    title: str = "",
) -> None:
    """Draw the usage of consecutive stretches of time, each at its beginning, into a file.

    Points of one time (of several groups) are added up. Raises `InvalidValue` for a kind of file
    that is not written and for usage of a single stretch, `ExtraMissing` without matplotlib.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise InvalidValue("plot", f"{path.name}: expected {', '.join(_SUFFIXES)}")
    sums: dict[datetime, Decimal] = {}
    for time, quantity in points:
        sums[time] = sums.get(time, Decimal(0)) + quantity
    if len(sums) < 2:
        raise InvalidValue("plot", "there is one stretch of time only", remedy="--every day")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ExtraMissing("plots", "matplotlib") from None
    # A figure of its own, not pyplot's: no window, whatever the terminal offers.
    figure = Figure(figsize=(7.2, 3.6), dpi=120, layout="constrained")
    times = sorted(sums)
    used = [sums[time] for time in times]
    plots.usage_forecast(times, used, unit=unit or "units", title=title, ax=figure.subplots())
    figure.savefig(path)
