"""Outside anchors: places off the host that keep the log's checkpoints.

`Tenancy.open(..., anchors=[…])` sends each new checkpoint to all of them; `Tenancy.audit.verify`
and `tenancy audit verify --anchor` read them back, and find a log that was put back to an older
copy.
"""

from __future__ import annotations

from .stores.anchors import Anchor, CommandAnchor, FileAnchor
from .stores.anchors_remote import HttpAnchor, PostgresAnchor, anchor_from_url

__all__ = [
    "Anchor",
    "CommandAnchor",
    "FileAnchor",
    "HttpAnchor",
    "PostgresAnchor",
    "anchor_from_url",
]
