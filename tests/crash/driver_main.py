"""The command line, with one planted death: KILL_AT names the moment at which the process kills itself with SIGKILL.

`before intent:flip`, `after outcome:create_target` are moments of the journal; `after said:HOLD` of the control log.
"""

import os
import signal
from collections.abc import Callable
from typing import Any

from cutover import opening
from cutover.cli import main
from cutover.journal import Tenure
from cutover.world import ControlLog
from tests.cutting import DRIVER_LEASE_SECONDS

KILL_AT = os.environ["KILL_AT"]


def die_at(moment: str) -> None:
    """Die here, if this is the moment."""
    if moment == KILL_AT:
        os.kill(os.getpid(), signal.SIGKILL)


def planted(original: Callable[..., Any], name: Callable[..., str]) -> Callable[..., Any]:
    """The call with a death before and after it."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        moment = name(*args)
        die_at(f"before {moment}")
        result = original(self, *args, **kwargs)
        die_at(f"after {moment}")
        return result

    return call


opening.LEASE_SECONDS = DRIVER_LEASE_SECONDS
Tenure.write = planted(Tenure.write, lambda kind, _stage, step, _body: f"{kind}:{step}")  # type: ignore[method-assign]
ControlLog.say = planted(ControlLog.say, lambda *messages: f"said:{messages[0].type}")  # type: ignore[method-assign]
ControlLog.call = planted(ControlLog.call, lambda message: f"said:{message.type}")  # type: ignore[method-assign]

if __name__ == "__main__":
    main()
