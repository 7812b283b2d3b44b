from collections.abc import Iterator
from pathlib import Path

import pytest

from cutover.journal import Journal, RunRow, Tenure

PAIR = "cluster-1: orders → orders.v2"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/journal.db"


@pytest.fixture
def journal(url: str) -> Iterator[Journal]:
    """A journal in which the run `orders` was begun."""
    with Journal.open(url) as opened:
        opened.begin(RunRow("orders", PAIR, "digest-1", {"cutover": "orders"}, 1))
        yield opened


@pytest.fixture
def driver(journal: Journal) -> Tenure:
    return Tenure.take(journal, "orders", "driver-1", 600)
