"""The compiled engine. This stub is its reference.

Times are nanoseconds: ``*_wall_ns`` since the Unix epoch, ``*_after_ns`` from now. Every name that
belongs to the public interface is exported again by a module of the package; nothing here is
imported by users.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Literal, final

from typing_extensions import Self

__version__: str

class CoreError(Exception):
    """An engine call failed. ``args`` is ``(code, message)``; modules translate it."""

class Clock:
    """Time as the engine sees it."""

    @staticmethod
    def system() -> Clock: ...
    def mono_ns(self) -> int: ...
    def wall_ns(self) -> int: ...

class FakeClock(Clock):
    """Time that a test owns; with ``path`` shared by all processes that open the same file."""

    def __init__(self, start_wall_ns: int, path: str | None = None) -> None: ...
    def advance_ns(self, delta_ns: int) -> None: ...
    def step_wall_ns(self, delta_ns: int) -> None: ...
    def step_mono_ns(self, delta_ns: int) -> None: ...

def sortable_id(prefix: str, wall_ns: int) -> str: ...
def uuid7(wall_ns: int) -> str: ...
def random_base62(chars: int) -> str: ...
def make_api_key() -> tuple[str, str]:
    """``(full key text, public id)``."""

def api_key_public_id(key: str) -> str | None: ...
def sha256(data: bytes) -> bytes: ...
def valid_permission(text: str, pattern: bool) -> bool: ...

class Catalog:
    """A validated catalog, immutable."""

    @staticmethod
    def parse(json: str) -> Catalog | list[tuple[str, str]]:
        """The catalog of a JSON document, or all that is wrong with it as ``(path, message)``.

        Raises `CoreError` when the text is not JSON.
        """

    def describe(self) -> dict[str, Any]:
        """All of it as plain values; `tenancy.catalog` makes read-only views from them."""

    def effective(self, plan: str, overrides: str) -> dict[str, Any] | list[tuple[str, str]]:
        """A plan's values with overrides (a JSON object) merged in, or what is wrong with those.

        Raises `CoreError` for an unknown plan and for what is not JSON.
        """

@final
class Log:
    """The host's tamper-evident log of facts, open in this process (cpp/LOG_FORMAT.md).

    Any number of processes may have one directory open at the same time, and a forked child goes on
    with its parent's. All methods from any thread. ``directory`` is the data directory, with
    ``log/`` and ``keys/`` below it. ``shared=False``: private to one process. ``background=False``:
    no thread; `flush` and `tend` do its work. ``accept_loss``: open although the disk lost what was
    durable. An append waits at most ``full_wait_ns`` for room, ``ack_wait_ns`` for the disk.
    Intervals of epochs and checkpoints may be 0: only when called for. Raises `CoreError`.
    """

    def __init__(
        self,
        directory: str,
        *,
        clock: Clock | None = None,
        host: str = "",
        shared: bool = True,
        background: bool = True,
        accept_loss: bool = False,
        ring_bytes: int = ...,
        segment_bytes: int = ...,
        full_wait_ns: int = ...,
        ack_wait_ns: int = ...,
        sync_interval_ns: int = ...,
        epoch_interval_ns: int = ...,
        checkpoint_interval_ns: int = ...,
        heartbeat_interval_ns: int = ...,
    ) -> None: ...
    def append(
        self,
        chain: str,
        fields: dict[str, Any],
        *,
        tenant: str | None = None,
        time_ns: int = 0,
        ack: str = "ring",
        subject: str | None = None,
        sealed: Iterable[str] = (),
    ) -> int:
        """Record one event; its sequence in the chain.

        ``chain`` is ``security``, ``access``, ``other`` or ``usage``. In ``fields``,
        ``event_id`` (a UUID in lower case; made when absent), ``policy_revision`` (int ≥ 0) and
        ``type action resource resource_id principal result ip user_agent request_id session_id
        reason source key_id metric quantity`` (str) are fields of their own; others are named
        values: None, bool, int, float, str, bytes, dict, list. Those named in ``sealed`` are sealed
        with the key of ``subject``, one of the tenant's own. ``time_ns`` 0 is now. ``ack``:
        ``ring`` survives this process, ``os`` is written, ``disk`` is synced. Raises `CoreError`:
        INVALID_ARGUMENT for a value, FULL when there was no room (nothing was recorded), IO when it
        is recorded but not yet at ``ack``, CONFLICT when closed ("recorded, but" when that was
        while it waited); TypeError.
        """

    def submit(
        self,
        chain: str,
        fields: dict[str, Any],
        *,
        tenant: str | None = None,
        time_ns: int = 0,
        subject: str | None = None,
        sealed: Iterable[str] = (),
        wait_ns: int | None = None,
    ) -> tuple[int, int]:
        """Record one event that is waited for apart: ``(sequence, end)``.

        It is recorded as by `append` at ``ring``. ``end`` (in bytes of the ring) is for `reached`
        and `wait`, of this log and in forked children; of two ends the lower is durable no later,
        and many share one sync. ``wait_ns`` bounds the waiting for room, ``full_wait_ns`` by
        default; after 1 ms of it other threads of the interpreter run. Errors as of `append` at
        ``ring``.
        """

    def reached(self, end: int, ack: str = "disk") -> bool:
        """Whether the record that ends there is at ``ack``; never waits, also when closed."""

    def wait(self, end: int, ack: str = "disk", *, wait_ns: int | None = None) -> None:
        """Wait until the record that ends there is at ``ack``, for ``wait_ns`` or ``ack_wait_ns``.

        For ``disk`` the caller may do the sync itself, if the one before took less than half of
        that time; then it waits as long as the disk takes. Raises `CoreError`: IO when it is
        recorded but not at ``ack`` by then, CONFLICT when it is recorded but the log was closed
        before, INVALID_ARGUMENT when no record ends there so far.
        """

    def append_many(
        self,
        events: Sequence[
            tuple[str, str | None, int, dict[str, Any]]
            | tuple[str, str | None, int, dict[str, Any], str | None, Iterable[str]]
        ],
        *,
        ack: str = "disk",
    ) -> list[int]:
        """Record events ``(chain, tenant, time_ns, fields)``, or with ``subject, sealed`` behind,
        in order, with one acknowledgement.

        No event is recorded if one of them is not valid. Errors as of `append`; one that comes
        later says how many were recorded.
        """

    def flush(self, ack: str = "disk", *, wait_ns: int | None = None) -> None:
        """Wait until all that was recorded so far is at ``ack``, for ``wait_ns`` or
        ``ack_wait_ns``. Raises `CoreError` IO when it is not by then."""

    def rotate(self) -> None:
        """Move to the next key epoch; the old key is destroyed."""

    def checkpoint(self) -> str:
        """Make a checkpoint; its signed note."""

    def prune(self, chain: str, before_sequence: int) -> dict[str, Any]:
        """Take the records of whole segments that end at or before ``before_sequence`` out of the
        log for good; stubs are left, so that proofs and verification go on (LOG_FORMAT.md, 6.4).

        ``kept_from``: the first sequence that is kept; ``record``: the sequence of the record that
        says so, None when there was nothing to prune; ``segments``: ``(first, end, bytes,
        stub_hash)`` of each that was pruned. After an error nothing was. Raises `CoreError`:
        DAMAGED for a segment that is not what the log wrote (it is kept), IO, FULL, CONFLICT.
        """

    def subject_key(self, subject: str, *, tenant: str | None = None) -> str | None:
        """The id of the key that seals what is about that subject now; None when it has none."""

    def erase(
        self, subject: str, *, tenant: str | None = None, by: str, reason: str
    ) -> tuple[str, int, int]:
        """Destroy the key of a subject; its id, the sequence of the record, its time.

        The record, of kind 9 in chain ``security``, is durable and the key overwritten on disk when
        it returns. One that is broken off is finished by whoever opens the log next, or erases.
        Raises `CoreError`: NOT_FOUND when nothing is sealed under a key of the subject.
        """

    def finish_erasure(self) -> None:
        """Finish an erasure whose process died; does nothing when there is none."""

    def tend(self) -> None:
        """Do what falls due: heartbeats, rotation, checkpoints. The thread does it by itself."""

    def position(self, chain: str) -> int:
        """The sequence that the chain's next record gets."""

    def health(self) -> dict[str, Any]:
        """``failing``, ``reason``, ``flusher_alive``, ``unwritten_bytes``, ``unsynced_bytes``,
        ``ring_bytes``, ``epoch``, ``checkpoints``, ``syncs``, ``groups``, ``leader_changes``,
        ``key_on_host``, ``next_sequence`` (by chain)."""

    def close(self) -> None:
        """Flush and sync; what comes after raises CONFLICT. Closing twice does nothing."""

    @property
    def id(self) -> str:
        """32 hexadecimal digits."""

    @property
    def public_key(self) -> str:
        """The C2SP verifier key of its checkpoints."""

    @property
    def log_directory(self) -> str: ...

@final
class UsageResult:
    """What became of the events of one `UsageLog.record`."""

    @property
    def recorded(self) -> int: ...
    @property
    def duplicates(self) -> int:
        """They were there before, with the same content, and count once."""

    @property
    def conflicts(self) -> int:
        """Their id is there with other content: refused."""

    @property
    def unknown(self) -> int:
        """Corrections and cancellations of an id that is not there: refused."""

    @property
    def statuses(self) -> bytes:
        """One byte for each event, in order: 0 recorded, 1 duplicate, 2 conflict, 3 unknown."""

    @property
    def sequence(self) -> int:
        """Of the chain ``usage``: all that the call recorded, or found there, is below it."""

@final
class UsageBatch:
    """Usage events as they were recorded."""

    columns: Final[tuple[str, ...]]
    """``sequence number recorded_ns tenant metric source id time_ns quantity properties action``.
    ``sequence`` is that of the record in the chain, ``number`` the event's own in its record:
    together they are unique and ascend. ``recorded_ns`` and ``time_ns`` are Unix nanoseconds; they
    are equal where the sender gave no time. ``quantity`` is a decimal number as text, exact;
    ``properties`` JSON text or None; ``action`` ``record``, ``correct`` or ``cancel``."""

    def __len__(self) -> int: ...
    @property
    def next(self) -> int:
        """The position to read from next. Stored in the transaction that stores the events, it
        makes each of them come exactly once."""

    def rows(self) -> list[tuple[Any, ...]]:
        """The events as tuples of `columns`."""

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        """The Arrow C data interface: a record batch of `columns`, for ``pyarrow.record_batch`` or
        ``polars.DataFrame``. Quantities are decimal128(38, 12)."""

@final
class UsageLog:
    """Usage events of one host, deduplicated and appended to the log's chain ``usage``.

    An event is known by tenant, source and id for ``window_ns`` after it was recorded, and at most
    an eighth of that longer. What `record` has acknowledged is in the log once, whoever is killed
    when. Any number of processes may have one directory open, and a forked child goes on with its
    parent's. ``directory`` is the data directory: ``usage-ids`` below it holds the ids
    (cpp/FORMATS.md, 4), and is made again from the log when it is lost. ``wait_ns``: the longest
    that a call waits for another process. ``clock`` is that of the log. All methods from any
    thread. Raises `CoreError`; CONFLICT when others use the directory with another window.
    """

    def __init__(
        self,
        log: Log,
        directory: str,
        *,
        window_ns: int = ...,
        wait_ns: int = ...,
        first_table_log2: int = ...,
        clock: Clock | None = None,
    ) -> None: ...
    def record(
        self,
        *,
        tenants: Any,
        metrics: Any,
        ids: Any,
        sources: Any = None,
        times_ns: Any = None,
        quantities: Any = None,
        properties: Any = None,
        actions: Any = None,
        ack: str = "os",
    ) -> UsageResult:
        """Record events in their order.

        Each argument is one value for all events, a list, or an array (Arrow with dictionaries or
        without, NumPy, pandas, polars); one str as ``ids`` is one event. ``sources``: None is the
        empty text. ``times_ns``: Unix nanoseconds; None, for all or one, is the time of recording.
        ``quantities``: int, Decimal, str, int64 or decimal128; None is 1. ``properties``: JSON text
        of an object (RFC 8785, so that the same content is the same text), or None. ``actions``:
        ``record``; ``correct`` replaces what the id said, cancelled or not; ``cancel`` takes it
        back. At most 256 bytes of an id, 1,024 of a tenant or source, 128 of a metric, 16,384 of
        properties.

        The content of an event is metric, quantity, properties, and its time if one was given.
        ``ack``: ``ring`` survives this process, ``os`` is written, ``disk`` is synced; it holds for
        duplicates as well. Raises `InvalidValue` (nothing was recorded); `CoreError` FULL when
        there was no room or another process kept the index too long, IO: part of the batch may be
        recorded, and sending all of it again is right.
        """

    def read(self, after: int = 0, limit: int = ...) -> UsageBatch:
        """The events of all records from the chain's position ``after`` on: whole records, at most
        ``limit`` events unless the first record alone has more (at most 1,024).

        Only what is durable is read: `Log.flush` first to see what was recorded just now. Going on
        at ``next`` is fastest. One thread at a time (CONFLICT otherwise). Raises `CoreError`:
        OUT_OF_RANGE when the record was pruned, DAMAGED.
        """

    def settle(self) -> None:
        """Make the index of ids durable, so that little of the log is read again when it is opened
        after a power cut or a restart of the machine. Waits for the disk."""

    def close(self) -> None:
        """Let go of it, before the log is closed; the last process settles. Further recording
        raises CONFLICT; closing twice does nothing."""

    @property
    def window_ns(self) -> int: ...

@final
class Emitter:
    """Writes audit facts into a log's ring: what most facts are by itself, all else by ``rest``.

    By itself it takes facts with texts of at most 64 printable ASCII characters, a named
    ``principal``, a type that it knows, a context of at most 16 members that are such texts (of up
    to 512), whole numbers up to 2^53, booleans or None, ``ack="ring"``, no ``subject``, while
    ``engine`` holds the newest definitions and the catalog in force is one that seals nothing.
    Everything else goes to ``rest`` with the arguments as they came. ``tenant_type`` is the class
    of tenants' records, which have an ``id``. Any thread.
    """

    def __init__(
        self,
        log: Log,
        engine: Engine,
        tenant_type: type,
        rest: Callable[..., str],
        /,
    ) -> None: ...
    def emit(self, *args: Any, **kwargs: Any) -> str:
        """Record a fact; its id. Arguments and errors of ``tenancy.audit.Audit.emit``."""

    def submit(self, *args: Any, **kwargs: Any) -> tuple[str, int] | None:
        """Commit a fact that it takes by itself: its id, and its end for `Log.wait`; else None.

        The arguments are those of ``emit`` without ``ack``.
        """

    def know(self, fact_type: str, chain: str, /) -> None:
        """Facts of this type, which is right, go into that chain. Raises `CoreError`."""

    def nothing_sealed(self, catalog: Catalog, /) -> None:
        """Nothing is sealed while this catalog is in force."""

@final
class LogReader:
    """Durable records of a log directory as rows, beside whoever writes it; needs no key.

    With ``keys_directory``, that of ``subjects``, sealed fields are opened as long as their keys
    are there; what stays closed reads as if it were absent.

    One thread at a time (CONFLICT otherwise). Framing and order are checked here, tags by
    `log_verify`.
    """

    columns: Final[tuple[str, ...]]
    """``sequence kind time_ns tenant tenant_sequence event_id type action resource resource_id
    principal result ip user_agent request_id session_id policy_revision reason source key_id
    rest subject_key sealed``. ``kind`` is a number of cpp/LOG_FORMAT.md, 5; 0 is an event. What
    is absent or null is None. ``rest`` is all else but a batch of usage as one JSON object
    (RFC 8785; bytes as hexadecimal digits, integers beyond 2^53 as text) or None. ``subject_key``
    is the id of the key that its first sealed field is sealed with, ``sealed`` a JSON list of the
    names of all of them, opened or not."""

    def __init__(self, log_directory: str, keys_directory: str = "") -> None: ...
    def rows(
        self, chain: str, from_sequence: int, limit: int, *, marked: bool = False
    ) -> list[tuple[Any, ...]]:
        """At most ``limit`` rows from that sequence on; fewer when no more are durable yet.

        ``marked``: what would be None is 0 in a column of texts and "" in one of numbers.
        Going on where the last call for the chain ended is fastest. Raises `CoreError`:
        OUT_OF_RANGE when the record was pruned, DAMAGED naming the segment.
        """

def log_verify(
    directory: str,
    key: str,
    anchors: Iterable[str] = (),
    now_ns: int = 0,
    host_key: str = "",
    subjects: str = "",
) -> str:
    """Verify a log directory; the report as JSON (cpp/LOG_FORMAT.md, 11).

    ``status`` is 0 whole, 1 tampered, 3 cannot verify, 4 whole with reservations. ``key`` is a
    file like ``keys/log.verify``; ``anchors`` are notes kept elsewhere; with ``now_ns`` a silence
    up to then is judged; ``host_key`` is a path at which no key should be; ``subjects`` is the file
    ``keys/subjects`` against which erasures are judged. Releases the GIL, raises nothing about the
    log.
    """

def log_prove_record(
    directory: str, chain: str, sequence: int, note: str
) -> tuple[bytes, list[bytes]]:
    """The record's bytes, and its inclusion proof (RFC 9162) in the chain's tree of the note.

    Raises `CoreError`: the note is not of this log, or does not cover the record yet.
    """

def log_prove_consistency(directory: str, chain: str, size_before: int, size: int) -> list[bytes]:
    """The consistency proof (RFC 9162) between two sizes of a chain's tree. Raises `CoreError`."""

def log_kept_from(directory: str) -> dict[str, int]:
    """By chain, the first sequence that was not pruned. Raises `CoreError`."""

def log_segments(
    directory: str, chain: str
) -> list[tuple[int, int | None, bool, int | None, bytes | None]]:
    """The segments of a chain in order: ``(first, end, pruned, bytes, stub_hash)``.

    ``end`` is the sequence behind its last record, None of the one that is written to; ``bytes``
    (of the segment, when it was there) and ``stub_hash`` are those of pruned ones. Raises
    `CoreError`.
    """

def log_segment_content(
    directory: str,
    chain: str,
    first: int,
    end: int | None = None,
    tenants: Iterable[str] = (),
) -> tuple[int, int, int, int, list[str]]:
    """Read one segment: ``(records, events, first_time_ns, last_time_ns, tenants)``.

    Times are the earliest and the latest; ``tenants`` are those of the ones asked for that have a
    record in it. Releases the GIL. Raises `CoreError`: NOT_FOUND when it was pruned.
    """

def log_last_note(directory: str) -> str:
    """The newest checkpoint in the log's directory. Raises `CoreError` before the first one."""

def status_may_become(before: str, after: str) -> bool: ...
def valid_time_zone(name: str) -> bool: ...

class Engine:
    """Definitions and counters of one host. Owned by `Tenancy`."""

    def __init__(
        self,
        *,
        counters_path: str,
        clock: Clock,
        default_tenant: str = "",
        reservation_ns: int = 60_000_000_000,
        initial_slots: int = 1024,
        max_bytes: int = 4 << 30,
        anonymous_bytes: int = 8 << 20,
        failed_credentials: str = "",
        idempotency_window_ns: int = 86_400_000_000_000,
        idempotency_repeats: int = 5,
        idempotency_keys_max: int = 100_000,
    ) -> None:
        """``counters_path`` empty: private memory. ``failed_credentials`` empty: no bound. Raises
        `CoreError`."""

    def apply(
        self,
        revision: int,
        changes: Mapping[str, Sequence[tuple[Any, ...]]],
        *,
        catalog: Any = None,
        reset: bool = False,
    ) -> None:
        """Make and publish the next definitions; on `CoreError` nothing changed.

        ``catalog`` is a `_core.Catalog` or ``None`` (unchanged). ``changes`` maps kinds to rows:

        ========================  =================================================================
        ``tenants``               ``(id, external_id|None, slug, status, plan, time_zone|None,``
                                  ``anchor_wall_ns, overrides_json|None, settings_json|None)``
        ``keys``                  ``(public_id, tenant_id, digest, principal|None, scopes|None,``
                                  ``expires_wall_ns, revoked_wall_ns, grace_until_wall_ns,
                                  limit|None)``; times 0 = none, ``scopes`` a list of patterns
        ``sessions``              ``(digest, tenant_id, principal, platform, expires_wall_ns,``
                                  ``roles|None)``; roles: those to be active
        ``roles``                 ``(tenant_id|None, name, permissions, denies, inherits)``
        ``assignments``           ``(tenant_id, principal, role, resource|None,
                                  until_wall_ns|None)``
        ``resources``             ``(tenant_id, type, id, creator)``
        ``removed_tenants``       ``(id,)``
        ``removed_keys``          ``(public_id,)``
        ``removed_sessions``      ``(digest,)``
        ``removed_roles``         ``(tenant_id|None, name)``
        ``removed_assignments``   ``(tenant_id, principal, role, resource|None)``
        ``removed_resources``     ``(tenant_id, type, id)``
        ========================  =================================================================
        """

    @property
    def revision(self) -> int:
        """Revision of the definitions in force in this process."""

    def word(self) -> int:
        """The host's revision word: ``2 * revision``, odd while a writer commits."""

    def current(self) -> bool:
        """Whether the definitions in force in this process are the host's newest."""

    def swap_word(self, expected: int, value: int) -> bool:
        """Compare-and-swap of the word. True when it was ``expected``."""

    def tenant(self, reference: str) -> tuple[str, str, str] | None:
        """``(id, status, plan)`` by id, external id or slug, as the definitions in force say."""

    def peek_limits(
        self, tenant: str, action: str | None, principal: str | None
    ) -> tuple[Limit, ...]: ...
    def reset_limits(self, tenant: str, action: str | None, principal: str | None) -> None: ...
    def refund_limits(
        self, tenant: str, action: str | None, principal: str | None, cost: int
    ) -> None: ...

    # Quotas: each answers the state as a dict with allowed, unlimited, soft, limit, used, reserved,
    # overage, period_start_wall_ns, period_end_wall_ns, crossed (list of percents), kind.
    def quota_status(self, tenant: str, quota: str) -> dict[str, Any]: ...
    def quota_consume(self, tenant: str, quota: str, amount: int) -> dict[str, Any]: ...
    def quota_decrement(self, tenant: str, quota: str, amount: int) -> dict[str, Any]: ...
    def quota_set(self, tenant: str, quota: str, used: int) -> dict[str, Any]:
        """A recount, then `quota_reconcile`."""

    def quota_reconcile(self, tenant: str, quota: str) -> dict[str, Any]:
        """Give back what processes killed in the middle of something left charged.

        Waits, at most half a second and without the interpreter's lock, until nobody alive is in
        the middle of something; when it cannot be certain of that, nothing changes.
        """
    def quota_reserve(
        self, tenant: str, quota: str, amount: int, ttl_ns: int
    ) -> tuple[dict[str, Any], Handle | None]: ...
    def quota_acquire(
        self, tenant: str, quota: str, ttl_ns: int
    ) -> tuple[dict[str, Any], Handle | None]: ...
    def quota_revoke_leases(self, tenant: str) -> int: ...
    def quota_acknowledge(
        self, tenant: str, quota: str, period_start_wall_ns: int, percents: Sequence[int]
    ) -> None: ...

    # Access, in the words of `tenancy.access`.
    def access_check(
        self,
        tenant: str,
        principal: str,
        permission: str,
        resource: str | None = None,
        roles: Sequence[str] | None = None,
    ) -> bool:
        """``roles``, here and below: the active ones; `CoreError` ``INVALID_ARGUMENT`` for one that
        is not held, ``CONFLICT`` for a set that a dynamic duty forbids."""

    def access_check_many(
        self,
        tenant: str,
        principal: str,
        permissions: Sequence[str],
        resource: str | None = None,
        roles: Sequence[str] | None = None,
    ) -> list[bool]: ...
    def access_explain(
        self,
        tenant: str,
        principal: str | None,
        permission: str,
        resource: str | None,
        scopes: Sequence[str] | None,
        roles: Sequence[str] | None = None,
    ) -> dict[str, Any]: ...
    def access_permissions(
        self,
        tenant: str,
        principal: str,
        resource: str | None = None,
        roles: Sequence[str] | None = None,
    ) -> list[str]: ...
    def access_report(self, tenant: str | None) -> dict[str, Any]:
        """The tenant's own roles (``None``: all tenants'): ``unused`` names, ``duplicates``
        as groups of names, ``over_broad`` as ``(role, pattern)``. Sorted."""

    def access_who_can(
        self, tenant: str, permission: str, resource: str | None = None
    ) -> list[str]: ...
    def access_assignments(
        self, tenant: str, principal: str
    ) -> list[tuple[str, str, str | None, int | None]]: ...
    def access_roles(self, tenant: str) -> list[str]: ...
    def access_missing_for_grant(self, tenant: str, holder: str, role: str) -> str | None: ...
    def owns(self, tenant: str, resource_type: str, resource_id: str) -> bool: ...
    def effective(self, tenant: str) -> dict[str, Any]:
        """Effective plan values with their origins, as `_core.Catalog.effective` gives them."""

    def key_usage(self, public_id: str) -> tuple[int, int]:
        """``(uses since rotation, last_used_wall_ns)``; last used is to the minute, 0 = never."""

    def set_log(self, log: Log | None) -> None:
        """Facts of decisions go there from now on, as the catalog's ``audit`` says; None: nowhere.

        A fact for which the log has no room within 5 ms is counted as ``lost`` and makes the
        decision STATE_UNAVAILABLE, unless the catalog says ``on_full: count``; while there is no
        room, later ones wait 0.1 ms. Thresholds of quotas are not written: see
        `threshold_wanted`.
        """

    def threshold_wanted(self, refused: bool) -> bool:
        """Whether the catalog's ``audit`` wants the fact of a quota threshold that was just
        reached, by a decision that was ``refused`` or not. Ask once for each: samples are drawn,
        and what is held back counts as ``suppressed``. True without a log."""

    def stats(self) -> dict[str, Any]:
        """``decided`` by reason, ``latency_us_log2``, ``facts`` (``recorded``, ``suppressed`` by
        the policy, ``lost``), sizes and counts."""

@final
class Handle:
    """A reservation or a lease, to be settled by whoever holds it.

    A context manager: commits (a lease: ends) on success, releases on an exception.

    ``kind`` is ``"reservation"`` or ``"lease"``, ``quota`` the name, ``amount`` the units held.
    """

    kind: Final[Literal["reservation", "lease"]]
    quota: Final[str]
    amount: Final[int]
    settled: Final[bool]
    def commit(self, amount: int | None = None) -> bool:
        """Keep what was reserved, or ``amount`` of it. False: it had expired, nothing changed, or
        it was settled before; a repeat of a charged request holds what is settled."""
    def release(self) -> bool:
        """Give it back. False: it had expired or was settled before."""
    def renew(self, ttl: float | None = None) -> bool:
        """Lease: extend its life (seconds). False: it had ended."""
    def detach(self) -> Handle:
        """Take it out of the request: `finish` leaves it alone, its holder settles it."""
    def __enter__(self) -> Handle: ...
    def __exit__(self, *exc: object) -> None: ...

@final
class Limit:
    """What one window of a limit answered."""

    name: Final[str]
    policy: Final[str]
    """As in the catalog: ``100/minute``."""
    allowed: Final[bool]
    shadow: Final[bool]
    """The window only reports: it was exceeded, and the request went on."""
    limit: Final[int]
    remaining: Final[int]
    window: Final[float]
    """Seconds."""
    refill: Final[float]
    """Seconds in which ``limit`` comes back at the policy's rate: ``window``, except where a burst
    makes ``limit`` another amount than the window's."""
    reset_after: Final[float]
    """Seconds until the full limit is back if nothing more is spent."""
    retry_after: Final[float | None]
    """Seconds; 0.0 when allowed, ``None`` when waiting never helps."""
    delay: Final[float]
    """Leaky queue: serve after this many seconds."""

@final
class Decision:
    """The answer to one request. True when allowed."""

    allowed: Final[bool]
    reason: Final[Any]
    """A `tenancy.Reason`."""
    code: Final[str]
    """The reason's value: ``"ALLOWED"`` or an error code of the HTTP table."""
    status: Final[int]
    """HTTP status that fits: 200, 400, 401, 403, 409, 422, 429 or 503."""
    detail: Final[str]
    """The limit, quota, permission or feature that refused, or an empty string."""
    tenant: Final[str | None]
    """Tenant id, when it is known and may be shown to the caller."""
    credential_tenant: Final[str | None]
    """Id of the tenant that the API key or session belongs to, also when the request named another
    one and was refused. For records, not for answers."""
    tenant_slug: Final[str | None]
    plan: Final[str | None]
    principal: Final[str | None]
    principal_is_hint: Final[bool]
    """The principal was named beside a credential that has none: it gives no rights."""
    repeated: Final[bool]
    """Something that this request consumes was charged to an earlier one with the same idempotency
    key, and is not charged again."""
    key: Final[str | None]
    """Public id of the API key."""
    session: Final[bool]
    limits: Final[tuple[Limit, ...]]
    tightest: Final[Limit | None]
    """The window with the smallest share left: what headers show."""
    quotas: Final[tuple[dict[str, Any], ...]]
    reservations: Final[tuple[Handle, ...]]
    leases: Final[tuple[Handle, ...]]
    retry_after: Final[float | None]
    revision: Final[int]
    active_roles: Final[tuple[str, ...] | None]
    """The roles that the request or its credential named as active; ``None``: all that are held."""
    roles_refused: Final[bool]
    """Refused because a role named as active is not held, or because they may not be active
    together; ``detail`` says so in a sentence."""
    finished: Final[bool]
    def __bool__(self) -> bool: ...
    def permissions(self) -> list[str]:
        """What this caller may do: exactly the permissions that a decision would find permitted,
        among those known by name to the catalog, to the roles, and to the caller's own scopes and
        claims."""
    def explain_permission(
        self, permission: str, resource: str | None = None, /
    ) -> dict[str, Any] | None:
        """Which role grants it by which path, or the nearest miss; ``None`` without a tenant."""

@final
class Gate:
    """The decision calls of one `Tenancy`, bound there as ``check``, ``admit`` and so on."""

    def __init__(
        self,
        engine: Engine,
        *,
        on_stale: Callable[[], object],
        on_event: Callable[[Decision], None],
        on_gauge: Callable[[str, str], int | None],
        reasons: Sequence[Any],
        quota_status: int = 403,
    ) -> None:
        """``on_stale`` reads and applies the changes of the store; the gate asks again afterwards.

        ``on_event`` is called for a decision that crossed quota thresholds.
        ``on_gauge(tenant_id, quota)`` answers the current value of a quota that the application
        counts itself, or ``None``. ``reasons`` are the members of `tenancy.Reason` in the engine's
        order.
        """

    def set_gauges(self, names: Sequence[str]) -> None: ...
    def note_refusal(
        self,
        decision: Decision | None,
        code: str,
        detail: str,
        question: bool,
        /,
        **asked: Any,
    ) -> None:
        """Leave the fact of a refusal that is no decision, as the catalog's ``audit`` says.

        ``decision`` is that of the request in which it was made, which says who asked and from
        where; with None ``asked`` names ``tenant`` and ``principal``. ``code`` is that of a
        `tenancy.Reason`, ``detail`` the limit, quota or permission that refused. With ``question``
        nothing was refused by the answer. ``asked`` are keywords of `check`.
        """

    def check(
        self,
        *,
        api_key: str | bytes | None = None,
        session: str | None = None,
        identity: Identity | None = None,
        tenant: str | None = None,
        principal: str | None = None,
        hints: Sequence[str] | None = None,
        trust_hints: bool = False,
        permission: str | None = None,
        resource: str | None = None,
        feature: str | None = None,
        action: str | None = None,
        cost: int = 1,
        consume: Mapping[str, int] | None = None,
        ip: str | None = None,
        endpoint: str | None = None,
        request_id: str | bytes | None = None,
        request: Mapping[str, Any] | None = None,
        idempotency_key: str | bytes | None = None,
        fingerprint: str | bytes | None = None,
        roles: Sequence[str] | None = None,
    ) -> Decision:
        """Decide. A refusal is a value; bad arguments raise ``TypeError`` or ``ValueError``.

        ``tenant`` is an id, external id or slug named by the program itself, and trusted; ``hints``
        are the same named by the request, and only select among what the credential allows.
        ``roles`` are those of the principal's that are to be active, held or inherited; the others
        allow nothing, while their denials stand. One that is not held, or a set that a dynamic
        duty forbids, is refused as ``PERMISSION_DENIED``. None: all that are held.
        ``consume`` maps quotas to amounts; a concurrency quota takes as many leases. Names of
        quotas, actions and features that the catalog does not define raise ``ValueError``.

        ``request_id`` is only written down, with the fact that the decision leaves. ``request`` is
        an ASGI scope or WSGI environ, from which such a fact takes method, path (without a query)
        and user agent; it is not looked at where none is written.

        With an ``idempotency_key`` (1 to 255 visible ASCII characters), what the same caller
        consumes under it is charged once, however often it asks; ``fingerprint`` is what the key
        stands for, and the same key with another one is refused.
        """

    def admit(
        self,
        *,
        api_key: str | bytes | None = None,
        session: str | None = None,
        identity: Identity | None = None,
        tenant: str | None = None,
        principal: str | None = None,
        hints: Sequence[str] | None = None,
        trust_hints: bool = False,
        cost: int = 1,
        ip: str | None = None,
        endpoint: str | None = None,
        request_id: str | bytes | None = None,
        request: Mapping[str, Any] | None = None,
        action: str | None = None,
        idempotency_key: str | bytes | None = None,
        fingerprint: str | bytes | None = None,
        credential_expired: bool = False,
        roles: Sequence[str] | None = None,
    ) -> Decision:
        """The first half, before routing: limits without identity, credential, tenant, limits of
        tenant, user and key (with the catalog's default action). ``request`` as in `check`; it is
        kept for the facts of what follows. ``credential_expired``: the
        program verified a credential and found it right, but over; it is refused as such, and is
        no wrong one."""

    def authorize(
        self,
        decision: Decision,
        *,
        permission: str | None = None,
        resource: str | None = None,
        feature: str | None = None,
        action: str | None = None,
        cost: int = 1,
        consume: Mapping[str, int] | None = None,
        endpoint: str | None = None,
        idempotency_key: str | bytes | None = None,
        fingerprint: str | bytes | None = None,
        roles: Sequence[str] | None = None,
    ) -> Decision:
        """The second half: limits of endpoint and action, permission, feature, quotas (reserved
        until `finish`). ``roles`` may leave out some of those that are active. Changes and returns
        ``decision``; may be called several times for one request."""

    def finish(self, decision: Decision, status: int = 200) -> None:
        """Settle: commit reservations below 500, release from 500 on; end leases. Idempotent."""

    def dry_run(self, **request: Any) -> Decision:
        """The arguments of `check`; decides without taking anything. `explain` stands on it."""

@final
class Identity:
    """A caller whom the program verified itself (a JWT): its tenants, user, scopes and active
    roles."""

    def __init__(
        self,
        principal: str | None = None,
        tenants: Sequence[str] = (),
        scopes: Sequence[str] | None = None,
        roles: Sequence[str] | None = None,
    ) -> None: ...
    @property
    def principal(self) -> str:
        """Empty where the caller has no user."""

class LimitPolicy:
    """One limit as it was understood, immutable."""

    @property
    def limit(self) -> int: ...
    @property
    def burst(self) -> int:
        """The most that one request can cost and still pass."""
    @property
    def window(self) -> float:
        """Seconds."""
    @property
    def algorithm(self) -> str: ...
    @property
    def worst_case(self) -> int:
        """The most that is ever admitted in any window, at cost 1."""
    def explain(self) -> str:
        """What the policy promises, in sentences."""

def limit_policies(
    text: str,
    algorithm: str | None,
    burst: int | None,
    anchor_first: bool,
    shadow: bool,
    allow_on_full: bool,
) -> list[LimitPolicy]:
    """The limits of a text such as ``"10/second; 100/minute"``. Raises `CoreError`."""

@final
class LimitAnswer:
    """What a limiter says to one hit. True when allowed.

    With several limits the attributes are those of the limit that refuses longest or, when all
    allow, of the one with the smallest share left; `windows` has them all.
    """

    @property
    def allowed(self) -> bool: ...
    @property
    def shadow(self) -> bool:
        """The limit only reports: it was exceeded, and the hit was let through."""
    @property
    def full(self) -> bool:
        """The counters had no room for this key: the limiter's `on_full` answered."""
    @property
    def limit(self) -> int: ...
    @property
    def remaining(self) -> int: ...
    @property
    def window(self) -> float:
        """Seconds."""
    @property
    def refill(self) -> float:
        """Seconds in which ``limit`` comes back at the policy's rate; see `Limit.refill`."""
    @property
    def reset_after(self) -> float:
        """Seconds until the full limit is back if nothing more is spent."""
    @property
    def retry_after(self) -> float | None:
        """Seconds until the same hit passes if nobody else comes; 0.0 when allowed, ``None`` if it
        costs more than the limit ever allows."""
    @property
    def delay(self) -> float:
        """Leaky queue: begin after this many seconds."""
    @property
    def windows(self) -> tuple[LimitAnswer, ...]:
        """One answer for each limit."""
    def __bool__(self) -> bool: ...

class LimiterCore:
    """Policies and their counters. Use `tenancy.limits.Limiter`."""

    def hit(self, key: str | bytes, cost: int = 1) -> LimitAnswer:
        """Take `cost` of every limit, or nothing when one of them refuses.

        Raises `InvalidValue` for an empty key and for a cost that is no positive whole number.
        """
    def peek(self, key: str | bytes, cost: int = 1) -> LimitAnswer:
        """What `hit` would say; takes nothing and makes no counter."""
    def refund(self, key: str | bytes, cost: int = 1, of: LimitAnswer | None = None) -> None:
        """Give back what a hit took: `of` is its answer, without it the hit counts as made now.

        Gives back what is still counted, never more than was taken.
        """
    def reset(self, key: str | bytes) -> None:
        """Forget the key, as if never seen."""
    def _open(
        self, policies: list[LimitPolicy], path: str, clock: Clock | None, name: str, max_bytes: int
    ) -> None: ...
    def _bytes(self) -> int: ...

# The web layers. `tenancy.headers` describes the fields and their sources.

def limit_fields(window: Any, now_wall_ns: int) -> list[tuple[bytes, bytes]]:
    """The fields of a `tenancy.headers.Window` as ASGI has them, names in lower case."""

def limit_headers(window: Any, now_wall_ns: int) -> list[tuple[str, str]]:
    """The same as WSGI has them."""

def scan_headers(headers: Any, wanted: frozenset[bytes], /) -> dict[bytes, Any]:
    """The wanted ones of a sequence of ``(name, value)``: by name the value, or a list of the
    values where the header is repeated.

    Names are compared as they are: ASGI has them in lower case. Raises ``TypeError`` or
    ``ValueError`` for what is no sequence of pairs.
    """

class RequestContext:
    """What every `tenancy.context.TenantContext` has: who it is for, natively."""

    tenancy: Any
    decision: Decision | None
    """The request's decision; ``None`` outside of a request and after its end."""
    request_time_ns: int
    client_session_id: str | None
    window: Any
    """The window of an inline limit with the smallest share left, for response headers."""
    over: bool
    """The request, or the block of `bind`, has ended."""
    refused: bool
    """An inline limit refused. What the decision refused, the decision says."""
    reserves: bool
    """Something is reserved until the end of the request."""
    meters: list[Any] | None
    """What its route and its handler say it used; recorded when it ends."""
    _headers: Any
    _claims: tuple[str, ...]
    _record: Any
    _session_id: str | None
    _key_id: str | None
    _principal: str | None
    _roles: tuple[str, ...] | None
    _scopes: tuple[str, ...] | None
    _tenant_id: str | None
    _endpoint_counted: bool
    _leased: bool
    def __new__(
        cls,
        tenancy: Any,
        decision: Decision | None,
        request_time_ns: int | None,
        headers: Any = (),
        client_session_id: str | None = None,
        claims: tuple[str, ...] = (),
        /,
    ) -> Self:
        """``headers`` are pairs of bytes, or a WSGI environ; ``claims`` are permissions that a
        verified token brought along. A time of ``None`` is the decision's."""
    @property
    def tenant_id(self) -> str: ...
    @property
    def principal(self) -> str | None:
        """The user or service; ``None`` for a key that is its own principal."""
    @property
    def key_id(self) -> str | None:
        """Public id of the API key."""
    @property
    def session_id(self) -> str | None:
        """The session that authenticated, came along, or was opened by `open_session`."""
    def end(self) -> None:
        """The request is over: whatever inherited this context has no tenant any more. The
        decision, which is large, is let go; who it was stays known."""

@final
class ResponseFields:
    """Which fields the responses of one middleware get: those of the tightest window if ``limits``,
    and the ids of tenant and session under the names given."""

    def __init__(
        self, *, limits: bool = True, tenant: str | None = None, session: str | None = None
    ) -> None: ...

class AsgiExchange:
    """An ASGI request under way: ``send`` stands between the application and the server."""

    decision: Any
    """The `Decision`; ``None`` after the end."""
    context: Final[Any]
    receive: Any
    """The server's."""
    status: int
    """Of the response, 0 until it begins; 101 for a websocket that was accepted."""
    gone: bool
    """Whoever asked went away before the response began."""
    def __new__(
        cls, fields: ResponseFields, send: Any, decision: Decision, context: Any, finisher: Any, /
    ) -> Self:
        """``context`` is a `RequestContext` or ``None``; ``finisher``, if any, gets the list of all
        fields and gives the one to send."""
    def send(self, message: Any) -> Any:
        """Send a message on; the one that begins the response gets our fields, in a copy. When
        that fails, ``_not_begun`` is called with the exception and the message goes as it is."""
    def own_fields(self) -> list[tuple[bytes, bytes]]:
        """Our fields alone, for a refusal."""

class WsgiExchange:
    """A WSGI request under way, and the body that the server gets: the items of ``body``, or what
    the method ``_watched`` gives where that is no list."""

    decision: Any
    context: Final[Any]
    body: Any
    token: Any
    status: int
    failed: bool
    """The body raised."""
    def __new__(
        cls, fields: ResponseFields, start: Any, decision: Decision, context: Any, finisher: Any, /
    ) -> Self: ...
    def start(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        """The server's ``start_response``, with our fields. Raises ``ValueError`` for a status that
        does not begin with three digits."""
    def own_fields(self) -> list[tuple[str, str]]: ...
    def __iter__(self) -> Iterator[bytes]: ...

# --- pricing: decimals are exact, with 12 digits after the point and 26 before it

CURRENCIES_AS_OF: Final[str]
"""The day whose list of ISO 4217 the table of currencies is."""

def exact(value: object, field: str) -> Decimal:
    """An int, str or Decimal as a Decimal of the same value with the fewest digits.

    Raises `InvalidValue` that names ``field`` for anything else, above all a float.
    """

def minor_digits(currency: str) -> int: ...
def currency_codes() -> list[str]: ...
def round_money(amount: object, digits: int, rounding: str) -> Decimal: ...
def allocate(amount: object, weights: Sequence[object], digits: int) -> list[Decimal]: ...
def prorate(amount: object, part: object, whole: object, digits: int) -> Decimal:
    """``amount * part / whole``; ``digits`` first rounds the fraction, -1 does not."""

def price_rules() -> dict[str, dict[str, str]]:
    """Every preset with its options."""

def shipped_price_books() -> list[str]: ...

class Amounts:
    """A column of exact numbers with 12 digits after the point.

    A sequence of `Decimal` (``None`` where a value is missing). Arrow, pandas and polars take it as
    decimal128(38, 12) without a copy: ``pyarrow.array(amounts)``, ``polars.Series(amounts)``.
    """

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Decimal: ...
    def __iter__(self) -> Iterator[Decimal]: ...
    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]: ...
    def __arrow_c_schema__(self) -> object: ...
    def tolist(self) -> list[Decimal]: ...
    def digits(self) -> int:
        """How many digits after the point the values need, 0 to 12."""

    def to_wholes(self, digits: int) -> FrameValues:
        """The values as counts of ``10 ** -digits``; raises `InvalidValue` where one is none."""

    def to_floats(self) -> FrameValues:
        """The nearest doubles; NaN where a value is missing."""

    def sum(self) -> Decimal:
        """Exact; missing values count nothing. Raises `InvalidValue` past 10^26."""

class FrameValues:
    """int64 or float64 numbers one after the other, as a read-only buffer (``numpy.asarray``)."""

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

class FrameColumn:
    """A column out of a data frame, where it lies. Made by `read_frame` and `of`.

    Each reader raises `InvalidValue` under the name ``field`` for a column of another kind.
    """

    @staticmethod
    def of(values: Any, field: str, ids: bool) -> FrameColumn:
        """Anything array-like of whole numbers, decimals or (``ids``) texts."""

    def __len__(self) -> int: ...
    @property
    def kind(self) -> str:
        """``int``, ``decimal``, ``text``, ``float`` or ``time``."""

    @property
    def zone(self) -> str:
        """The time zone of times; empty where the source names none."""

    def first_null(self) -> int | None:
        """The first row without a value."""

    def read_as(self, kind: str, zone: str) -> FrameColumn:
        """Whole numbers as ``time`` (nanoseconds since 1970) or ``float`` (the bits of doubles)."""

    def wholes(self, field: str) -> FrameValues:
        """Whole numbers, without a copy where they lie together."""

    def times_ns(self, field: str) -> FrameValues:
        """Nanoseconds since 1970."""

    def floats(self, field: str) -> FrameValues: ...
    def units(self, field: str) -> Amounts:
        """Whole numbers and decimals, exactly."""

    def codes(self, field: str) -> tuple[FrameValues, list[Any]]:
        """For each row the number of its value, and the values by the order of their appearance."""

def read_frame(frame: Any) -> list[tuple[str, FrameColumn | str]]:
    """The columns of anything with ``__arrow_c_stream__`` or ``__arrow_c_array__``, by name.

    A column of a type that is not read is the text that says so.
    """

def arrow_stream(columns: list[tuple[str, str, Any]]) -> object:
    """A capsule ``arrow_array_stream`` of columns: name, kind (``int``, ``text``, ``float``,
    ``time`` in nanoseconds: lists, None where a value is missing; ``decimal``: Amounts), values."""

def amounts_of_wholes(values: Any, digits: int) -> Amounts:
    """Whole numbers that count units of ``10 ** -digits``, as amounts."""

def amounts_of_numbers(values: list[Any], field: str) -> Amounts:
    """`int`, `str` or `Decimal`, and None where a value is missing."""

def concat_amounts(parts: list[Amounts]) -> Amounts:
    """One after the other."""

def add_amounts(a: Amounts, b: Amounts) -> Amounts:
    """Element by element, exactly."""

def sum_rows(amounts: Amounts, samples: int, groups: Any, count: int) -> Amounts:
    """Sums of samples by group: row g is the sum of all rows whose entry of ``groups`` is g.

    ``amounts`` is a matrix of ``samples`` columns, row after row; ``groups`` an array with a number
    below ``count`` for each row. Exact.
    """

def row_quantiles(amounts: Amounts, samples: int, levels: list[float]) -> Amounts:
    """For each row and ascending level the smallest sample that at least that share of the row is
    not above."""

def row_means(amounts: Amounts, samples: int) -> Amounts:
    """The mean of each row, rounded half away from zero to 12 digits."""

def row_counts_above(amounts: Amounts, samples: int, thresholds: Amounts) -> FrameValues:
    """How many samples of each row are above its threshold."""

def take_rows(amounts: Amounts, samples: int, rows: Any) -> Amounts:
    """These rows of a matrix, in this order."""

class PriceCore:
    """A price. `tenancy.pricing` derives the classes of the models from it."""

    def amount(
        self,
        quantity: int | str | Decimal,
        after: int | str | Decimal | None = None,
        events: int | None = None,
    ) -> Decimal:
        """What ``quantity`` costs, exactly.

        With ``after``, what it costs when so much was priced before: ``amount(after + quantity)``
        minus ``amount(after)``, which adds up over any split of the usage. With ``events``, the
        volume of a percentage came in so many events. Raises `InvalidValue` for a negative
        quantity (unless the rules price it), for a float, and past 10^26.
        """

    def amounts(self, quantities: Any) -> Amounts:
        """The amount of every quantity of an array.

        ``quantities`` is an array of whole numbers (NumPy of any integer type, Arrow, pandas,
        polars), of decimals (Arrow decimal128) or of `Decimal` objects, or a list. Binary floating
        point is refused. Nulls of Arrow stay null. Raises `InvalidValue` with the first element
        that is wrong. Long arrays are priced by two threads, without the interpreter's lock.
        """

    def amount_of_events(self, events: Any) -> Decimal:
        """What the events of a percentage cost together, in their order, each by itself."""

    def _explain(
        self, quantity: object
    ) -> list[tuple[str, int | None, Decimal, Decimal, Decimal | None, Decimal]]:
        """``(kind, tier, quantity, unit, packages, amount)`` of each line."""

    def _quantity_for(self, budget: object, step: object) -> Decimal | None:
        """``None``: there is no most."""

    def _describe(self) -> dict[str, Any]: ...
    def _open(self, json: str) -> list[tuple[str, str]] | None:
        """Read a definition; what is wrong with it as ``(path, message)``."""

    def _adopt(self, other: PriceCore) -> None: ...

class PriceBook:
    """The prices of several metrics. Immutable."""

    @staticmethod
    def parse(json: str) -> PriceBook | list[tuple[str, str]]:
        """The book of a JSON document, or all that is wrong with it as ``(path, message)``."""

    @staticmethod
    def of_catalog(catalog: Catalog, name: str) -> PriceBook | None:
        """A book that the catalog defines."""

    def describe(self) -> dict[str, Any]: ...
    def amount(
        self, usage: dict[str, Any], seats: object
    ) -> tuple[Decimal, list[tuple[str, Decimal]]]: ...
    def amounts(self, usage: dict[str, Any], seats: Any = None) -> Amounts: ...
    def for_plan(self, plan: str) -> PriceBook: ...

class UsageSums:
    """The rows of summed usage."""

    def tenants(self) -> list[int | str]: ...
    def metrics(self) -> list[int]: ...
    def events(self) -> list[int]: ...

def rate_usage(
    tenants: Any, metrics: Any, quantities: Any, names: list[str], prices: list[Any] | None
) -> dict[str, Any]:
    """Sums usage events by tenant and metric, and prices the sums where prices are given.

    ``{"rows": UsageSums, "quantities": Amounts, "amounts": Amounts}``.
    """

# What-if; `tenancy.whatif` uses these. Columns of numbers come as the bytes of an array.

def usage_table(
    tenants: Any,
    times: FrameColumn,
    metrics: Any,
    quantities: Any,
    names: list[str],
    starts: Any,
    customers: str,
) -> dict[str, Any]:
    """Sums usage events by tenant, period and metric: a row for each tenant and period.

    ``names`` are the metrics; ``starts`` says where the periods begin and where the last one ends;
    ``customers`` which periods of a tenant are rows (``used``, ``span``, ``since``, ``all``).
    ``{"ids": tenants, "tenants": their positions (uint32), "periods": (uint32), "columns": [int64,
    or Amounts where there are fractions]}``. Raises `InvalidValue` with the first event that is
    wrong.
    """

def time_range(times: FrameColumn, step: int = 1) -> tuple[int, int]:
    """The first and the last time in nanoseconds since 1970; zeros without any.

    With a step above 1 those of every such row and the last one only.
    """

def period_starts(unit: str, zone: str, from_ns: int, to_ns: int) -> list[int]:
    """Where the calendar periods begin that touch these times, and where the last of them ends."""

def price_ranges(price: PriceCore) -> list[tuple[int, Decimal | None]]:
    """The tiers by the largest quantity in each; 0 is no usage and what is included."""

def tier_buckets(price: PriceCore, quantities: Any, bounds: list[Decimal]) -> bytes:
    """How many of the ascending bounds lie below each quantity (uint32), which is first rounded as
    the price counts it."""

def amounts_words(amounts: Amounts) -> bytes:
    """Units of 1e-12 as 128-bit numbers, the lower word first."""

def amounts_of_words(words: bytes) -> Amounts:
    """The other way. Raises `InvalidValue` past 10^26."""

def replay_limits(
    policies: list[LimitPolicy], keys: Any, key_count: int, times: Any, costs: Any
) -> dict[str, bytes]:
    """What each key was answered, under limits that all hold at once: int64 columns by key.

    ``keys`` are positions below ``key_count``, ``times`` nanoseconds since 1970 in any order,
    ``costs`` whole numbers or None for 1 each.
    """

def replay_quota(
    limit: int, starts: Any, keys: Any, key_count: int, times: Any, costs: Any
) -> dict[str, bytes]:
    """The same under a quota of each period."""
