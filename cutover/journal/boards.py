"""How a run stands, as its driver last saw it: one row a run, overwritten, outside the chain. For screens, never for decisions."""

import json

from sqlalchemy import Connection, select, update

from cutover.journal import entries
from cutover.journal.canonical import canonical, refuse_secrets
from cutover.journal.leases import assert_held, if_absent
from cutover.journal.model import Board, Body, Lease
from cutover.journal.schema import BOARDS, now_ms


def publish(connection: Connection, lease: Lease, run: str, body: Body) -> None:
    """Put the view of now in place of the last one; raises LeaseExpired, UnknownRun."""
    refuse_secrets(body, "the board")
    at_ms = assert_held(connection, lease)
    entries.assert_lease_on(entries.find(connection, run), lease)
    row = {"run": run, "at_ms": at_ms, "body": canonical(body)}
    if not if_absent(connection, BOARDS, row):
        connection.execute(update(BOARDS).where(BOARDS.c.run == run).values(at_ms=at_ms, body=row["body"]))


def find(connection: Connection, run: str) -> Board | None:
    """The last view, with its age by the database's clock; None where nothing was published."""
    row = connection.execute(select(BOARDS.c.at_ms, BOARDS.c.body, now_ms()).where(BOARDS.c.run == run)).one_or_none()
    return None if row is None else Board(run, row[0], (row[2] - row[0]) / 1000, json.loads(row[1]))
