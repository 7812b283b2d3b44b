"""What is wrong at one field of a plan, before anybody knows in which line of which file it stands."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic_core import PydanticCustomError

Path = tuple[str | int, ...]
"""The way to a field: names of fields, and numbers of list entries from 0."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """One thing that is wrong; `what` goes on from the path as a sentence does."""

    path: Path
    what: str

    def below(self, prefix: Path) -> "Wrong":
        """The same, seen from further up."""
        return Wrong((*prefix, *self.path), self.what)


def dotted(path: Path) -> str:
    """The path as people read it: groups[0].hand_off; `plan` for the whole."""
    words = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return words.removeprefix(".") or "plan"


def refusal(what: str) -> PydanticCustomError:
    """To be raised by the check of one value."""
    return PydanticCustomError("wrong", "{what}", {"what": what})


def contradiction(found: Sequence[Wrong]) -> PydanticCustomError:
    """To be raised by the check of values against each other; carries each of them."""
    words = "; ".join(f"{dotted(each.path)} {each.what}" for each in found)
    return PydanticCustomError("contradiction", "{what}", {"what": words, "found": tuple(found)})
