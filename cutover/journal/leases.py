"""Leases: one row per resource, taken by one conditional update that raises the epoch, judged by the database's clock.

The row is locked first and the clock is read after that. A lease avoids collisions; safety is the fence of Kafka's transactions.
"""

import time
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Table, and_, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from cutover.errors import LeaseExpired, LeaseHeld
from cutover.journal.model import Holding, Lease, moment
from cutover.journal.schema import LEASES, now_ms

STEP_MS: Final = 5_000
"""A clock that is off by more than this has stepped."""

ROW = LEASES.c


def acquire(connection: Connection, resource: str, holder: str, ttl_seconds: float) -> Lease:
    """Take a lease that is free, has run out, or is the same holder's; raises LeaseHeld."""
    asked = time.monotonic()
    if_absent(connection, LEASES, {"resource": resource, "holder": "", "epoch": 0, "renewed_at_ms": 0, "expires_at_ms": 0})
    _lock(connection, resource)
    free = or_(ROW.expires_at_ms <= now_ms(), ROW.holder == holder, ROW.renewed_at_ms > now_ms() + STEP_MS)
    taken = _extended(connection, ROW.resource == resource, free, holder=holder, epoch=ROW.epoch + 1, ttl_seconds=ttl_seconds)
    if taken is None:
        raise _held(connection, resource)
    return Lease(resource, holder, taken.epoch, ttl_seconds, taken.renewed_at_ms, time.monotonic(), asked)


def renew(connection: Connection, lease: Lease) -> Lease:
    """Begin the lease's time anew; raises LeaseExpired once it is no longer ours."""
    asked = time.monotonic()
    _lock(connection, lease.resource)
    assert_held(connection, lease)
    kept = _extended(connection, _mine(lease), ROW.expires_at_ms > now_ms(), ttl_seconds=lease.ttl_seconds)
    if kept is None:
        raise lost(connection, lease)
    return Lease(lease.resource, lease.holder, lease.epoch, lease.ttl_seconds, kept.renewed_at_ms, time.monotonic(), asked)


def release(connection: Connection, lease: Lease) -> None:
    """Let others take it now. The row stays, and so does the epoch: a later holder's is higher."""
    _lock(connection, lease.resource)
    connection.execute(update(LEASES).where(_mine(lease), ROW.expires_at_ms > now_ms()).values(expires_at_ms=now_ms()))


def holding(connection: Connection, resource: str) -> Holding | None:
    """Who holds it now; None when nobody does."""
    live = and_(ROW.resource == resource, ROW.expires_at_ms > now_ms())
    row = connection.execute(select(ROW.holder, ROW.epoch, ROW.expires_at_ms).where(live)).one_or_none()
    return None if row is None else Holding(resource, row.holder, row.epoch, row.expires_at_ms)


def assert_held(connection: Connection, lease: Lease) -> int:
    """Lock the lease until the transaction ends and return the time; raises LeaseExpired unless it is ours at this time."""
    _lock(connection, lease.resource)
    row = connection.execute(select(now_ms().label("now"), ROW.expires_at_ms, ROW.renewed_at_ms).where(_mine(lease))).one_or_none()
    if row is None or row.expires_at_ms <= row.now:
        raise lost(connection, lease)
    stepped = _stepped_ms(lease, row.now)
    if abs(stepped) > STEP_MS or row.renewed_at_ms > row.now + STEP_MS:
        raise _clock_stepped(lease, stepped)
    return int(row.now)


def lost(connection: Connection, lease: Lease) -> LeaseExpired:
    """The error that says who has the lease now."""
    now = holding(connection, lease.resource)
    who = "nobody holds it now" if now is None else f"{now.holder} holds it now, with epoch {now.epoch}"
    return LeaseExpired(
        f"the lease on {lease.resource} is no longer ours",
        why=f"Epoch {lease.epoch} ran out or was taken over; {who}.",
        resource=lease.resource,
        epoch=lease.epoch,
        holder=None if now is None else now.holder,
    )


def if_absent(connection: Connection, table: Table, row: dict[str, Any]) -> bool:
    """Insert a row unless one with its key is there; whether it was inserted. Waits for who inserts the same one now."""
    insert = (sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert)(table).values(row)
    key = next(iter(table.primary_key))
    return connection.execute(insert.on_conflict_do_nothing().returning(key)).one_or_none() is not None


def _lock(connection: Connection, resource: str) -> None:
    """SQLite needs none: its write transactions have the database to themselves."""
    connection.execute(select(ROW.epoch).where(ROW.resource == resource).with_for_update())


def _mine(lease: Lease) -> ColumnElement[bool]:
    return and_(ROW.resource == lease.resource, ROW.epoch == lease.epoch, ROW.holder == lease.holder)


def _extended(connection: Connection, *conditions: ColumnElement[bool], ttl_seconds: float, **values: Any) -> Row[Any] | None:  # noqa: ANN401
    until = {"renewed_at_ms": now_ms(), "expires_at_ms": now_ms() + round(ttl_seconds * 1000)}
    return connection.execute(
        update(LEASES).where(*conditions).values(**values, **until).returning(ROW.epoch, ROW.renewed_at_ms)
    ).one_or_none()


def _held(connection: Connection, resource: str) -> LeaseHeld:
    row = connection.execute(select(ROW.holder, ROW.epoch, ROW.expires_at_ms).where(ROW.resource == resource)).one()
    until = moment(row.expires_at_ms).isoformat(timespec="seconds")
    return LeaseHeld(
        f"{row.holder} drives {resource}",
        why=f"Its lease ends at {until} unless it is renewed.",
        holder=row.holder,
        epoch=row.epoch,
        until=until,
    )


def _stepped_ms(lease: Lease, now: int) -> float:
    """How far the database's clock and our monotonic one moved apart since both were read together."""
    return (now - lease.seen_ms) - (time.monotonic() - lease.seen_monotonic) * 1000


def _clock_stepped(lease: Lease, stepped_ms: float) -> LeaseExpired:
    return LeaseExpired(
        f"the lease on {lease.resource} is void: a clock stepped",
        why=f"The database's clock and this machine's moved apart by {stepped_ms / 1000:+.1f} s, so nobody can say when the lease ends.",
        resource=lease.resource,
        epoch=lease.epoch,
    )
