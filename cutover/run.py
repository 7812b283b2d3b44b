"""The names that a run derives: its id, its group, the transactional ids of its lanes."""

import hashlib
import re
from dataclasses import dataclass

from cutover.errors import RunNameWrong

NAME = re.compile(r"[A-Za-z0-9._-]{1,120}")


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the mirror over one pair. The same name and topics give the same ids on every host."""

    name: str
    run_id: str
    epoch: int = 0

    @classmethod
    def of(cls, name: str, origin_id: str, follower_id: str, epoch: int = 0) -> "Run":
        """The run of this name over the pair with these topic ids (Kafka's base64 text form); raises RunNameWrong."""
        if not NAME.fullmatch(name):
            raise RunNameWrong(f"{name!r} cannot name a run", name=name)
        digest = hashlib.sha256(f"{name}|{origin_id}|{follower_id}".encode())
        return cls(name, digest.digest()[:8].hex(), epoch)

    @property
    def group(self) -> str:
        """The consumer group that holds the positions."""
        return f"cutover.{self.name}.{self.epoch}"

    def transactional_id(self, lane: int) -> str:
        """The transactional id of a lane."""
        return f"{self.group}.{lane}"


def default_name(origin: str, follower: str) -> str:
    """The name of a run that was given none; a topic name is at most 249 characters, a run's is shorter."""
    return f"{origin}--{follower}"[:120]
