"""What operators ask of the driver of a run: written without a lease, answered under it, in the order they were asked."""

import json
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from cutover.errors import RunEnded, UnknownRun
from cutover.journal import entries
from cutover.journal.canonical import canonical, refuse_secrets
from cutover.journal.leases import assert_held
from cutover.journal.model import Body, Lease, Request
from cutover.journal.schema import REQUESTS, now_ms

ROW = REQUESTS.c


def ask(connection: Connection, run: str, verb: str, body: Body, by: str) -> Request:
    """Write a request; raises UnknownRun, RunEnded, LiteralSecret."""
    refuse_secrets(body, f"the request {verb}")
    if entries.find(connection, run).ended_at_ms is not None:
        raise RunEnded(f"the run {run} is over and nobody answers", run=run)
    values = {"run": run, "verb": verb, "body": canonical(body), "by": by, "asked_at_ms": now_ms()}
    return _request(connection.execute(insert(REQUESTS).values(values).returning(*ROW)).one())


def asked(connection: Connection, run: str) -> tuple[Request, ...]:
    """The open requests of a run, oldest first."""
    query = select(REQUESTS).where(ROW.run == run, ROW.answered_at_ms.is_(None)).order_by(ROW.id)
    return tuple(_request(row) for row in connection.execute(query))


def answer(connection: Connection, lease: Lease, number: int, outcome: Body) -> Request:
    """Close a request and return it; the first answer stays. Raises LeaseExpired, UnknownRun."""
    refuse_secrets(outcome, "the answer")
    at_ms = assert_held(connection, lease)
    entries.assert_lease_on(entries.find(connection, find(connection, number).run), lease)
    open_one = (ROW.id == number, ROW.answered_at_ms.is_(None))
    connection.execute(update(REQUESTS).where(*open_one).values(answered_at_ms=at_ms, outcome=canonical(outcome)))
    return find(connection, number)


def find(connection: Connection, number: int) -> Request:
    """A request with its outcome, if it has one; raises UnknownRun for a number that was never given."""
    row = connection.execute(select(REQUESTS).where(ROW.id == number)).one_or_none()
    if row is None:
        raise UnknownRun(f"the journal knows no request {number}", request=number)
    return _request(row)


def _request(row: Row[Any]) -> Request:
    return Request(**{**row._mapping, "body": json.loads(row.body), "outcome": None if row.outcome is None else json.loads(row.outcome)})
