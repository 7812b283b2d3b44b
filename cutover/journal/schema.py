"""The tables, and the clock of the database as an expression. The migrations make the same tables; a test compares the two."""

from typing import Any, Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, MetaData, String, Table, Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

VERSION: Final = "0003"
"""The newest migration."""

METADATA: Final = MetaData()

RUNS: Final = Table(
    "runs",
    METADATA,
    Column("run", String(200), primary_key=True),
    Column("pair", Text, nullable=False),
    Column("plan_digest", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("steps_version", Integer, nullable=False),
    Column("begun_at_ms", BigInteger, nullable=False),
    Column("ended_at_ms", BigInteger),
    Column("head_seq", BigInteger, nullable=False),
    Column("head_hash", String(64), nullable=False),
)

ENTRIES: Final = Table(
    "entries",
    METADATA,
    Column("run", String(200), ForeignKey("runs.run"), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("stage", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("plan_digest", Text, nullable=False),
    Column("steps_version", Integer, nullable=False),
    Column("lease_epoch", BigInteger, nullable=False),
    Column("holder", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)

LEASES: Final = Table(
    "leases",
    METADATA,
    Column("resource", String(500), primary_key=True),
    Column("holder", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("renewed_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
)

REQUESTS: Final = Table(
    "requests",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("run", String(200), ForeignKey("runs.run"), nullable=False),
    Column("verb", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("asked_at_ms", BigInteger, nullable=False),
    Column("answered_at_ms", BigInteger),
    Column("outcome", Text),
    Index("requests_of_run", "run", "answered_at_ms"),
    sqlite_autoincrement=True,
)

BOARDS: Final = Table(
    "boards",
    METADATA,
    Column("run", String(200), ForeignKey("runs.run"), primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
)


class now_ms(FunctionElement[int]):  # noqa: N801 - reads as the function that it is
    """The database's wall clock in milliseconds since 1970, read while the statement runs and not when its transaction began."""

    type = BigInteger()
    inherit_cache = True


@compiles(now_ms, "sqlite")
def _sqlite_now(*_: Any, **__: Any) -> str:  # noqa: ANN401
    return "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"


@compiles(now_ms, "postgresql")
def _postgresql_now(*_: Any, **__: Any) -> str:  # noqa: ANN401
    return "CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) AS BIGINT)"
