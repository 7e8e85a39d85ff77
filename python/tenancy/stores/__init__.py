"""Persistence of definitions: the SQLite store, the revision protocol, the outbox."""

__all__: list[str] = []
