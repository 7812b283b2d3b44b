"""Runs and the entries of their chains: begun once, appended to under the lease, read in order."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, select, update

from cutover.errors import JournalTampered, LeaseExpired, PlanChanged, RunEnded, StepsChanged, UnknownRun
from cutover.journal.canonical import canonical, differences, refuse_secrets
from cutover.journal.chain import GENESIS, Break, Head, first_break, sealed
from cutover.journal.leases import assert_held, if_absent
from cutover.journal.model import BEGUN, KINDS, Body, Entry, Lease, RunRow
from cutover.journal.schema import ENTRIES, RUNS, now_ms

SHOWN_DIFFERENCES = 10


def begin(connection: Connection, run: RunRow) -> None:
    """Store a run with its first entry, or find the same one; raises PlanChanged, StepsChanged, RunEnded."""
    refuse_secrets(run.plan, "the plan")
    at_ms: int = connection.execute(select(now_ms())).scalar_one()
    first = sealed(_first(run, at_ms))
    stored = {
        "run": run.run,
        "pair": run.pair,
        "plan_digest": run.plan_digest,
        "plan": canonical(run.plan),
        "steps_version": run.steps_version,
        "begun_at_ms": at_ms,
        "head_seq": 0,
        "head_hash": first.hash,
    }
    if if_absent(connection, RUNS, stored):
        _insert(connection, first)
    else:
        _assert_same(find(connection, run.run), run)


def _first(run: RunRow, at_ms: int) -> Entry:
    body = {"pair": run.pair, "plan": run.plan, "plan_digest": run.plan_digest, "steps_version": run.steps_version}
    text = canonical(body)
    return Entry(run.run, 0, at_ms, BEGUN, "planned", "begin", json.loads(text), run.plan_digest, run.steps_version, 0, "", GENESIS, "")


def _assert_same(known: RunRow, given: RunRow) -> None:
    if known.ended_at_ms is not None:
        raise RunEnded(f"the run {known.run} is over", run=known.run)
    if (known.plan_digest, known.pair) != (given.plan_digest, given.pair):
        raise _plan_changed(known, given)
    if known.steps_version != given.steps_version:
        raise StepsChanged(
            f"the run {known.run} was begun with step list {known.steps_version}, this cutover has {given.steps_version}",
            run=known.run,
            begun_with=known.steps_version,
            found=given.steps_version,
        )


def _plan_changed(known: RunRow, given: RunRow) -> PlanChanged:
    old, new = ({"pair": each.pair, **json.loads(canonical(each.plan))} for each in (known, given))
    found = list(differences(old, new)) or [f"plan_digest: {known.plan_digest} → {given.plan_digest}"]
    more = [f"and {len(found) - SHOWN_DIFFERENCES} more"] if len(found) > SHOWN_DIFFERENCES else []
    return PlanChanged(
        f"the run {known.run} was begun with another plan",
        why="; ".join(found[:SHOWN_DIFFERENCES] + more),
        run=known.run,
        differences=found,
    )


def find(connection: Connection, run: str, *, locked: bool = False) -> RunRow:
    """A run, locked until the transaction ends if so wanted; raises UnknownRun."""
    query = select(RUNS).where(RUNS.c.run == run)
    row = connection.execute(query.with_for_update(key_share=True) if locked else query).one_or_none()
    if row is None:
        raise UnknownRun(f"the journal knows no run {run}", run=run)
    return _run(row)


def every_run(connection: Connection) -> tuple[RunRow, ...]:
    """Every run, in the order they were begun."""
    return tuple(_run(row) for row in connection.execute(select(RUNS).order_by(RUNS.c.begun_at_ms, RUNS.c.run)))


def append(connection: Connection, lease: Lease, run: str, kind: str, stage: str, step: str, body: Body) -> Entry:
    """Add an entry to the end of the chain; raises LeaseExpired, UnknownRun, RunEnded, LiteralSecret."""
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of entry")
    refuse_secrets(body, f"the body of {step}")
    at_ms = assert_held(connection, lease)
    known = assert_open(connection, lease, run)
    entry = sealed(
        Entry(
            run,
            known.head_seq + 1,
            at_ms,
            kind,
            stage,
            step,
            json.loads(canonical(body)),
            known.plan_digest,
            known.steps_version,
            lease.epoch,
            lease.holder,
            known.head_hash,
            "",
        )
    )
    _insert(connection, entry)
    ended = {"ended_at_ms": at_ms} if kind == "ended" else {}
    connection.execute(update(RUNS).where(RUNS.c.run == run).values(head_seq=entry.seq, head_hash=entry.hash, **ended))
    return entry


def assert_open(connection: Connection, lease: Lease, run: str) -> RunRow:
    """Lock a run that has not ended and whose pair the lease is on; raises UnknownRun, RunEnded, LeaseExpired."""
    known = find(connection, run, locked=True)
    assert_lease_on(known, lease)
    if known.ended_at_ms is not None:
        raise RunEnded(f"the run {run} is over", run=run)
    return known


def assert_lease_on(known: RunRow, lease: Lease) -> None:
    """Raise LeaseExpired for a lease on something else than the run's pair: it would keep no other driver away."""
    if known.pair != lease.resource:
        raise LeaseExpired(
            f"the lease is on {lease.resource}, the run {known.run} moves {known.pair}", run=known.run, resource=lease.resource
        )


def _insert(connection: Connection, entry: Entry) -> None:
    connection.execute(insert(ENTRIES).values({**asdict(entry), "body": canonical(entry.body)}))


def read(connection: Connection, run: str, after: int) -> tuple[Entry, ...]:
    """The entries behind this one, in order; raises UnknownRun."""
    find(connection, run)
    return tuple(_entry(row, json.loads(row.body)) for row in connection.execute(_chain(run).where(ENTRIES.c.seq > after)))


def verify(connection: Connection, run: str, exported: Head | None) -> Head:
    """Check every link and return the head; raises JournalTampered, UnknownRun."""
    row = connection.execute(select(RUNS).where(RUNS.c.run == run)).one_or_none()
    if row is None:
        raise _missing(connection, run, exported)
    kept = row.head_seq, row.head_hash
    with connection.execute(_chain(run).execution_options(yield_per=500)) as rows:
        broken = first_break(_strict(rows), kept, exported)
    broken = broken or _misstated(connection, row)
    if broken is not None:
        raise _tampered(run, broken)
    return kept


def _missing(connection: Connection, run: str, exported: Head | None) -> UnknownRun | JournalTampered:
    left = connection.execute(_chain(run).limit(1)).one_or_none()
    if left is None and exported is None:
        return UnknownRun(f"the journal knows no run {run}", run=run)
    return _tampered(run, Break(0, "truncated", "the run itself was removed"))


def _chain(run: str) -> Select[Any]:
    return select(ENTRIES).where(ENTRIES.c.run == run).order_by(ENTRIES.c.seq)


def _strict(rows: Any) -> Iterator[Entry]:  # noqa: ANN401 - SQLAlchemy's result
    """The entries; one whose stored body is not the canonical text of a JSON object cannot keep its hash."""
    for row in rows:
        try:
            body = json.loads(row.body)
            unchanged = canonical(body) == row.body
        except ValueError:
            unchanged = False
        yield _entry(row, body if unchanged else {"not canonical": row.body})


def _misstated(connection: Connection, row: Row[Any]) -> Break | None:
    """The run's row repeats what entry 0 says and whether it has ended; the chain is what counts."""
    kinds = dict(
        connection.execute(
            select(ENTRIES.c.seq, ENTRIES.c.kind).where(ENTRIES.c.run == row.run, ENTRIES.c.seq.in_([0, row.head_seq]))
        ).all()
    )
    said = json.loads(connection.execute(select(ENTRIES.c.body).where(ENTRIES.c.run == row.run, ENTRIES.c.seq == 0)).scalar_one())
    stored = {"pair": row.pair, "plan": row.plan, "plan_digest": row.plan_digest, "steps_version": row.steps_version}
    if stored != {**said, "plan": canonical(said.get("plan"))}:
        return Break(0, "edited", "the run's pair, plan, digest or step list is not what entry 0 says")
    if (row.ended_at_ms is not None) != (kinds[row.head_seq] == "ended"):
        return Break(row.head_seq, "edited", "whether the run has ended is not what its last entry says")
    return None


def _tampered(run: str, broken: Break) -> JournalTampered:
    return JournalTampered(
        f"the journal of {run} does not hold from entry {broken.seq} on: {broken.how}",
        why=f"{broken.words}.",
        run=run,
        seq=broken.seq,
        how=broken.how,
    )


def _run(row: Row[Any]) -> RunRow:
    return RunRow(**{**row._mapping, "plan": json.loads(row.plan)})


def _entry(row: Row[Any], body: dict[str, Any]) -> Entry:
    return Entry(**{**row._mapping, "body": body})
