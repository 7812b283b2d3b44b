"""While no pair concerns an instance its produce() is the plain client's own method, and costs what that costs.

An application may have that method in its hands when a pair appears (`send = producer.produce`, or arguments that take long
to compute). The count of references to it tells: as long as somebody else has it, the instance must not be switched.
"""

import sys
from collections.abc import Callable
from typing import Any


class Shortcut:
    """The plain method, and whether anybody but us can still call it."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self.method = method

    def references(self) -> int:
        """How many references to the method there are, the one made for counting included."""
        return sys.getrefcount(self.method)

    def in_other_hands(self) -> bool:
        """Whether somebody else holds the method, once it was taken out of the instance again."""
        return self.references() > _ALONE


_ALONE = Shortcut([].append).references()
