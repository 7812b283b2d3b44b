"""Every error that cutover raises on purpose, by who acts next.

CutoverError
├── PlanWrong     the input is wrong: nothing was touched, correct it                          exit 2
├── Refused       a condition is not met: nothing was changed, meet it and run again           exit 1
├── Unreachable   the world did not answer: nothing is known to have changed, run again        exit 1
├── Violation     the data differ: stop, the evidence is kept                                  exit 5
├── Decision      safe to stand still, not to go on: a person must decide                      exit 7
├── Ambiguous     a write may or may not have happened: look at the world, never retry blindly exit 7
└── LeaseLost     another driver is in charge                                                  exit 8

Each concrete error has a stable id. A timeout of a write is Ambiguous, of a read Unreachable.
"""

from typing import Any, ClassVar


class CutoverError(Exception):
    """An error with a stable id that says what, why, what it means for traffic now, and what to do next.

    `fields` are the facts behind the words, as JSON values (no secrets, no keys or values of records).
    """

    id: ClassVar[str] = "CUT-GEN-000"
    exit_code: ClassVar[int] = 1
    traffic: ClassVar[str] = "Traffic is as it was: nothing was changed."
    advice: ClassVar[str] = "Run the command again with --help."

    def __init__(self, what: str, *, why: str = "", traffic: str = "", advice: str = "", **fields: Any) -> None:  # noqa: ANN401
        super().__init__(what)
        self.what = what
        self.why = why
        self.traffic_now = traffic or type(self).traffic
        self.next = advice or type(self).advice
        self.fields = fields

    def document(self) -> dict[str, Any]:
        """The error as a JSON object: id, exit_code, what, why, traffic, next, fields."""
        return {
            "id": self.id,
            "exit_code": self.exit_code,
            "what": self.what,
            "why": self.why,
            "traffic": self.traffic_now,
            "next": self.next,
            "fields": self.fields,
        }


class PlanWrong(CutoverError):
    """The input is wrong and nothing was touched."""

    id = "CUT-PLN-000"
    exit_code = 2
    advice = "Correct the input and run the command again."


class Refused(CutoverError):
    """A condition is not met and nothing was changed."""

    id = "CUT-REF-000"
    advice = "Meet the condition and run the command again."


class Unreachable(CutoverError):
    """The world did not answer; nothing is known to have changed."""

    id = "CUT-NET-000"
    advice = "Check that the brokers answer, then run the command again."


class Violation(CutoverError):
    """The data differ from what they must be; the evidence is kept."""

    id = "CUT-AUD-000"
    exit_code = 5
    traffic = "Producers and consumers go on as before; do not move anybody to the follower."
    advice = "Keep both topics, look at the samples, and find the writer before anything else."


class Decision(CutoverError):
    """It is safe to stand still and not safe to go on; a person must decide."""

    id = "CUT-DEC-000"
    exit_code = 7
    traffic = "Producers and consumers go on as before; copying has stopped."
    advice = "Read what happened, decide, and start again."


class Ambiguous(CutoverError):
    """A write may or may not have happened."""

    id = "CUT-AMB-000"
    exit_code = 7
    traffic = "Traffic goes on; one change of ours may or may not have been made."
    advice = "Look at the cluster before you run the command again; it is never retried blindly."


class LeaseLost(CutoverError):
    """Another driver is in charge."""

    id = "CUT-LEA-000"
    exit_code = 8
    traffic = "Traffic is driven by the other driver."
    advice = "Run cutover status to see who drives."
