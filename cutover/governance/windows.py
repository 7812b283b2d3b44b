"""The times at which a run may begin something that changes traffic, as its plan says."""

from datetime import UTC, datetime

from cutover.errors import WindowClosed
from cutover.world import World


def require_open(world: World, what: str, now: datetime | None = None) -> None:
    """Raise WindowClosed outside the plan's window. Going back never asks."""
    window = world.plan.window
    if window is None or window.is_open(now or datetime.now(UTC)):
        return
    days = ", ".join(window.days)
    raise WindowClosed(
        f"{what} may not begin now",
        why=f"The plan's window is {days}, {window.from_} to {window.to} {window.zone}.",
        days=list(window.days),
        zone=window.zone,
    )
