"""One driver's time with the lease of one run: renewed in good time, and everything it writes is written under it."""

import time
from collections.abc import Sequence
from typing import Self

from cutover.journal.journal import Journal
from cutover.journal.model import Body, Entry, Lease, Request

RENEWED_AFTER = 1 / 3
"""The part of the lease's time after which it is renewed: two more attempts fit into the rest."""


class Tenure:
    """Holds the lease on a run's pair: a driver's lease, its pen and its inbox."""

    def __init__(self, journal: Journal, run: str, lease: Lease) -> None:
        self._journal = journal
        self._run = run
        self.lease = lease

    @classmethod
    def take(cls, journal: Journal, run: str, holder: str, ttl_seconds: float) -> Self:
        """Acquire the lease on the run's pair; raises UnknownRun, LeaseHeld."""
        return cls(journal, run, journal.acquire(journal.run(run).pair, holder, ttl_seconds))

    def renew(self) -> None:
        """Keep the lease; asks the database only once a third of its time is over. Raises LeaseExpired."""
        if self.lease.asked_monotonic + self.lease.ttl_seconds * RENEWED_AFTER <= time.monotonic():
            self.lease = self._journal.renew(self.lease)

    def seconds_left(self) -> float:
        """How long the lease is ours for certain: an effect is begun only if it can end within that."""
        return self.lease.seconds_left()

    def release(self) -> None:
        """Let others drive now."""
        self._journal.release(self.lease)

    def write(self, kind: str, stage: str, step: str, body: Body) -> Entry:
        """Append an entry; raises LeaseExpired."""
        return self._journal.append(self.lease, self._run, kind, stage, step, body)

    def asked(self) -> Sequence[Request]:
        """The open requests, in the order they were made."""
        return self._journal.asked(self._run)

    def answer(self, request: Request, outcome: Body) -> None:
        """Close a request; raises LeaseExpired."""
        self._journal.answer(self.lease, request.id, outcome)

    def publish(self, body: Body) -> None:
        """Show how the run stands; raises LeaseExpired."""
        self._journal.publish(self.lease, self._run, body)
