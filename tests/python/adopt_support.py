"""What the tests of `adopt` on PostgreSQL share."""

from __future__ import annotations

from typing import Any

from postgres_support import Server
from tenancy.adopt import AdoptedTable, adopt

TENANT, OTHER = "ten_0000000000default", "ten_00000000000000acme"
ORDERS = """
CREATE TABLE orders (id bigserial PRIMARY KEY, item text NOT NULL, updated int DEFAULT 0);
INSERT INTO orders (item) SELECT 'item ' || n FROM generate_series(1, 2500) n;
"""
# What an earlier attempt by hand left: a column that may be NULL, filled here and there.
HALF = f"""
{ORDERS}
ALTER TABLE orders ADD COLUMN tenant_id text;
UPDATE orders SET tenant_id = '{OTHER}' WHERE id <= 10;
UPDATE orders SET tenant_id = '{TENANT}' WHERE id BETWEEN 11 AND 100;
"""


class Database:
    """A database of one test, as its application's role sees it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.name = server.fresh()
        self.url = server.url(self.name, "app")

    def sql(self, text: str, *values: Any, user: str = "app") -> list[Any]:
        with self.server.connect(self.name, user) as connection:
            cursor = connection.execute(text, values or None)
            return cursor.fetchall() if cursor.description else []

    def adopt(self, *tables: str, **options: Any) -> AdoptedTable:
        return adopt(self.url, TENANT, tables=tables or ["orders"], **options).tables[0]

    def shape(self, table: str = "orders") -> dict[str, Any]:
        """All that adopting makes, as the catalog has it."""
        column = self.sql(
            "SELECT attnotnull, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attname = 'tenant_id'",
            table,
        )
        index = self.sql(
            "SELECT indisvalid, indisunique, pg_get_indexdef(indexrelid) FROM pg_index"
            " WHERE indrelid = %s::regclass AND NOT indisprimary",
            table,
        )
        policy = self.sql(
            "SELECT policyname, permissive, cmd, qual, with_check FROM pg_policies"
            " WHERE tablename = %s",
            table,
        )
        secured = self.sql(
            "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = %s::regclass",
            table,
        )
        checks = self.sql(
            "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'c'",
            table,
        )
        return {
            "column": column,
            "index": index,
            "policy": policy,
            "secured": secured,
            "checks": checks,
        }

    def by_tenant(self, table: str = "orders") -> dict[str | None, int]:
        return dict(self.sql(f"SELECT tenant_id, count(*) FROM {table} GROUP BY 1", user="boss"))


def steps(table: AdoptedTable) -> list[str]:
    return [step.step for step in table.steps if step.done]
