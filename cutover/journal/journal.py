"""The journal of runs: what drivers, commands and screens use. Each call is one transaction.

Thread-safe; a process opens its own. What the rows mean is in entries.py, leases.py, requests.py.
"""

from types import TracebackType
from typing import Self

from cutover.journal import boards, entries, leases, requests
from cutover.journal.chain import Head
from cutover.journal.database import Database
from cutover.journal.location import located
from cutover.journal.model import Board, Body, Entry, Holding, Lease, Request, RunRow
from cutover.journal.upgrading import upgrade


class Journal:
    """An opened journal. Every call may raise JournalUnreachable, and one that writes JournalUnclear."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, url: str | None = None) -> Self:
        """Open, and make or upgrade, the journal at a URL, or the default one.

        Raises JournalUrlWrong, LiteralSecret, SecretUnavailable, JournalTooNew.
        """
        database = Database(located(url))
        try:
            upgrade(database)
        except BaseException:
            database.close()
            raise
        return cls(database)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    @property
    def name(self) -> str:
        """Where it is, as it may be shown: a path, or a server without password."""
        return self._database.name

    def begin(self, run: RunRow) -> None:
        """Store a run with its first entry; the same run again changes nothing. Raises PlanChanged, StepsChanged, RunEnded."""
        with self._database.writing() as connection:
            entries.begin(connection, run)

    def run(self, run: str) -> RunRow:
        """One run; raises UnknownRun."""
        with self._database.reading() as connection:
            return entries.find(connection, run)

    def runs(self) -> tuple[RunRow, ...]:
        """Every run, in the order they were begun."""
        with self._database.reading() as connection:
            return entries.every_run(connection)

    def acquire(self, resource: str, holder: str, ttl_seconds: float) -> Lease:
        """Take the lease on a resource (a run's pair) under a new epoch. `holder` names one process and no other. Raises LeaseHeld."""
        with self._database.writing() as connection:
            return leases.acquire(connection, resource, holder, ttl_seconds)

    def renew(self, lease: Lease) -> Lease:
        """The lease with its time begun anew; raises LeaseExpired."""
        with self._database.writing() as connection:
            return leases.renew(connection, lease)

    def release(self, lease: Lease) -> None:
        """Let others take the lease now; nothing happens if it is no longer ours."""
        with self._database.writing() as connection:
            leases.release(connection, lease)

    def holder(self, resource: str) -> Holding | None:
        """Who holds a resource now; None when nobody does."""
        with self._database.reading() as connection:
            return leases.holding(connection, resource)

    def append(self, lease: Lease, run: str, kind: str, stage: str, step: str, body: Body) -> Entry:
        """Add an entry, if the lease on the run's pair is ours at that moment; else LeaseExpired, and nothing is written.

        Raises UnknownRun, RunEnded, and LiteralSecret for a body that holds a secret in the open.
        """
        with self._database.writing() as connection:
            return entries.append(connection, lease, run, kind, stage, step, body)

    def entries(self, run: str, after: int = -1) -> tuple[Entry, ...]:
        """The entries behind number `after`, in order; raises UnknownRun. They are read, not verified."""
        with self._database.reading() as connection:
            return entries.read(connection, run, after)

    def head(self, run: str) -> Head:
        """The number and the hash of the last entry: keep it elsewhere, and `verify` finds what was rewritten since."""
        known = self.run(run)
        return known.head_seq, known.head_hash

    def verify(self, run: str, head: Head | None = None) -> Head:
        """Check every link up to the head and, if given, against an exported head; returns the head. Raises JournalTampered."""
        with self._database.reading() as connection:
            return entries.verify(connection, run, head)

    def ask(self, run: str, verb: str, body: Body, by: str) -> Request:
        """Ask something of the run's driver; raises UnknownRun, RunEnded, LiteralSecret."""
        with self._database.writing() as connection:
            return requests.ask(connection, run, verb, body, by)

    def asked(self, run: str) -> tuple[Request, ...]:
        """The open requests of a run, in the order they were made."""
        with self._database.reading() as connection:
            return requests.asked(connection, run)

    def answer(self, lease: Lease, request: int, outcome: Body) -> Request:
        """Close a request under the lease; the first answer stays. Raises LeaseExpired."""
        with self._database.writing() as connection:
            return requests.answer(connection, lease, request, outcome)

    def answered(self, request: int) -> Request | None:
        """A request once it has its outcome; None while it is open."""
        with self._database.reading() as connection:
            found = requests.find(connection, request)
        return None if found.outcome is None else found

    def publish(self, lease: Lease, run: str, body: Body) -> None:
        """Show how the run stands to whoever watches; raises LeaseExpired."""
        with self._database.writing() as connection:
            boards.publish(connection, lease, run, body)

    def board(self, run: str) -> Board | None:
        """How the run stood when its driver last published it; None when it never did."""
        with self._database.reading() as connection:
            return boards.find(connection, run)
