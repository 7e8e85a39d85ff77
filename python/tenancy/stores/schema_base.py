"""What every table is made with."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, MetaData
from sqlalchemy.dialects import sqlite

__all__ = ["Integer", "metadata", "serial"]

Integer = BigInteger().with_variant(sqlite.INTEGER(), "sqlite")

metadata = MetaData()


def serial() -> Column[int]:
    """Insertion order: the place in listings and the cursor of pages."""
    return Column("seq", Integer, primary_key=True)
