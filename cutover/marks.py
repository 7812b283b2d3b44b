"""The mark on positions that this tool wrote for a group: whose, in which stay, the how-manieth, and whether it is the last. Pure.

It is the metadata of the committed position, `cutover:RUN:STAY:SEQ` or `cutover:RUN:STAY:SEQ:final`. A position without a mark of the
present stay was committed by a member, and is never moved.
"""

import re
from dataclasses import dataclass
from typing import Self

_FORM = re.compile(r"cutover:(?P<run>[0-9a-f]{16}):(?P<stay>\d+):(?P<sequence>\d+)(?P<final>:final)?")


@dataclass(frozen=True, slots=True)
class Mark:
    """Who wrote a position, and what it is worth."""

    run: str
    stay: int
    sequence: int
    final: bool = False

    def __str__(self) -> str:
        """The metadata."""
        return f"cutover:{self.run}:{self.stay}:{self.sequence}{':final' if self.final else ''}"

    @classmethod
    def of(cls, metadata: str) -> Self | None:
        """The mark that the metadata is; None for anything else."""
        found = _FORM.fullmatch(metadata)
        if found is None:
            return None
        return cls(found["run"], int(found["stay"]), int(found["sequence"]), final=found["final"] is not None)
