"""Sessions name the roles that they activate.

Only adds a column: workers of the release before neither read nor write it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("sessions", sa.Column("roles", sa.Text))


def downgrade() -> None:
    op.drop_column("sessions", "roles")
