"""One journal, twice: in SQLite and in a real PostgreSQL. What passes on one and not on the other is a defect."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cutover.journal import Journal, RunRow
from tests.postgres import Server, server

PAIR = "cluster-1: orders → orders.v2"


@dataclass(frozen=True)
class Place:
    """A database for one test, and the way past the journal's code into it."""

    url: str

    def raw(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement as somebody would who can write to the database."""
        if self.url.startswith("sqlite"):
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
                return connection.execute(statement).fetchall()
        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as session:
            cursor = session.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """Started once per worker, when first asked for; skips with the reason where none can be started."""
    with server() as started:
        yield started


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "sqlite":
        yield Place(f"sqlite:///{tmp_path / 'state' / 'journal.db'}")
        return
    with request.getfixturevalue("postgresql").database() as url:
        yield Place(url)


@pytest.fixture
def journal(place: Place) -> Iterator[Journal]:
    with Journal.open(place.url) as opened:
        yield opened


@pytest.fixture
def begun(journal: Journal) -> Journal:
    """A journal in which the run `orders` was begun."""
    journal.begin(orders())
    return journal


def orders(**changed: object) -> RunRow:
    plan = {"cutover": "orders", "target": {"topic": "orders.v2", "partitions": 24}, "groups": [{"name": "balances"}]}
    return replace(RunRow("orders", PAIR, "digest-1", plan, 1), **changed)  # type: ignore[arg-type]
