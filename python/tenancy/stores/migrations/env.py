"""How Alembic runs the migrations: on the connection that `stores.database` hands over."""

from __future__ import annotations

from alembic import context

from tenancy.stores.schema import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=connection.dialect.name == "sqlite",
)
with context.begin_transaction():
    context.run_migrations()
