"""The stamp that both records of one produce() in mode DUAL carry: which instance wrote them, and which of its records they are. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

STAMP = "cutover.stamp"
"""The header's name."""
Headers = list[tuple[str, str | bytes | None]]


@dataclass(frozen=True, slots=True)
class Stamp:
    """Which produce() of which instance a record comes from. Unique: `session` is that of the instance's JOIN."""

    instance: str
    session: str
    epoch: int
    sequence: int

    def encoded(self) -> bytes:
        """The header's value: INSTANCE:SESSION:EPOCH:SEQUENCE in ASCII; no name has a colon."""
        return f"{self.instance}:{self.session}:{self.epoch}:{self.sequence}".encode()


def stamp_of(headers: Mapping[str, Any] | Iterable[tuple[str, Any]] | None) -> Stamp | None:
    """The stamp among a record's headers, or None. The last of several: an application that copies headers brings old ones."""
    own = headers.items() if isinstance(headers, Mapping) else headers or ()
    values = [value for name, value in own if name == STAMP]
    if not values or values[-1] is None:
        return None
    value = values[-1]
    parts = (value if isinstance(value, str) else value.decode(errors="replace")).split(":")
    if len(parts) != 4 or not (parts[2].isdecimal() and parts[3].isdecimal()):
        return None
    return Stamp(parts[0], parts[1], int(parts[2]), int(parts[3]))


def stamped(headers: Mapping[str, Any] | Headers | None, stamp: Stamp) -> Headers:
    """The application's headers in their order, and the stamp after them."""
    own = headers.items() if isinstance(headers, Mapping) else headers or ()
    return [*own, (STAMP, stamp.encoded())]
