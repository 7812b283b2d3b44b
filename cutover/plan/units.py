"""The values of a plan that are more than text or a number: durations, rates, names, times. Each knows its words and its bounds.

A duration is seconds in code and carries its unit in a file; what is written back uses the largest unit that is exact.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

from cutover.errors import UnknownPartitioner
from cutover.partitioners import ALIASES, FAMILIES, family
from cutover.plan.wrong import refusal

MILLISECONDS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
"""The units of a duration, largest first."""

DURATION: Final = re.compile(r"(\d{1,9})(ms|s|m|h|d)")
DURATION_FORMAT: Final = "duration with unit"
RATE: Final = re.compile(r"(?P<number>\d{1,12}(?:\.\d+)?)(?:[kMG]?|(?:[kMG]i?|Ki)?B)/s")
RUN_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,120}")
TOPIC_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
PRINCIPAL: Final = re.compile(r"[A-Za-z]+:.+")
SECRET_REFERENCE: Final = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:/.+")
CLOCK: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


def duration_seconds(value: object) -> float:
    """Read a duration with its unit, in seconds; 0 needs none."""
    if str(value) == "0":
        return 0.0
    found = DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is not None:
        return int(found[1]) * MILLISECONDS[found[2]] / 1000
    if re.fullmatch(r"\d+(\.\d+)?", str(value)):
        raise refusal(f"is {value}, without a unit: write {value}s or {value}ms")
    raise refusal(f"is {value!r}, not a whole number with one of the units ms, s, m, h, d")


def duration_text(seconds: float) -> str:
    """The duration in the largest unit that is exact."""
    milliseconds = round(seconds * 1000)
    if not milliseconds:
        return "0s"
    unit, size = next((unit, size) for unit, size in MILLISECONDS.items() if milliseconds % size == 0)
    return f"{milliseconds // size}{unit}"


@dataclass(frozen=True, slots=True)
class Within:
    """Bounds of a duration, both allowed."""

    least: float = 0.001
    most: float = 365 * 86_400

    def __call__(self, seconds: float) -> float:
        """The same value if it lies within."""
        if not self.least <= seconds <= self.most:
            raise refusal(f"is {duration_text(seconds)}, outside {duration_text(self.least)} to {duration_text(self.most)}")
        return seconds


def _rate(text: str) -> str:
    found = RATE.fullmatch(text)
    if text != "none" and found is None:
        raise refusal(f"is {text!r}, not a rate such as 10000/s, 10k/s, 5MB/s or none")
    if found is not None and float(found["number"]) == 0:
        raise refusal("would stop the copy: say none for no limit")
    return text


@dataclass(frozen=True, slots=True)
class Like:
    """A text of one form."""

    form: re.Pattern[str]
    words: str
    shown: bool = True

    def __call__(self, text: str) -> str:
        """The same text if it has the form; where it may be a secret it is not repeated."""
        if not self.form.fullmatch(text):
            raise refusal(f"is {text!r}, {self.words}" if self.shown else self.words)
        return text


def _topic(text: str) -> str:
    if not TOPIC_NAME.fullmatch(text) or text in {".", ".."}:
        raise refusal(f"is {text!r}, no name that Kafka takes: at most 249 letters, digits, dots, underscores and hyphens")
    return text


def _partitioner(text: str) -> str:
    try:
        return family(text).name
    except UnknownPartitioner as error:
        raise refusal(f"is {text!r}, which is not known. {error.why}") from error


def is_one_line(text: str) -> bool:
    """Whether a text can be a name in a plan."""
    return bool(text.strip()) and len(text) <= 255 and text.isprintable()


def _words(text: str) -> str:
    if not is_one_line(text):
        raise refusal("must be one line of 1 to 255 characters")
    return text


def _moment(text: str) -> str:
    if text in {"earliest", "now"}:
        return text
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise refusal(f"is {text!r}, none of earliest, now or a time such as 2026-01-31T08:00:00Z") from None
    if moment.tzinfo is None:
        raise refusal(f"is {text!r}, a time without a zone: end it with Z or an offset such as -05:00")
    return moment.astimezone(UTC).isoformat()


def _config_value(value: object) -> object:
    """Kafka's configs are text; a number or a truth value in the file is the same text."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else value


def _servers(text: str) -> str:
    for server in text.split(","):
        host, separator, port = server.strip().rpartition(":")
        if not separator or not host or "@" in host or "/" in host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise refusal("is not HOST:PORT, or several of them with commas between")
    return text


Duration = Annotated[
    float,
    BeforeValidator(duration_seconds),
    PlainSerializer(duration_text, return_type=str),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": f"^({DURATION.pattern}|0)$"}, {"const": 0}], "format": DURATION_FORMAT}),
]
Some = Annotated[Duration, AfterValidator(Within())]
"""A duration above zero."""

Rate = Annotated[str, AfterValidator(_rate), WithJsonSchema({"type": "string", "format": "none, 10000/s or 5MB/s"})]
RunName = Annotated[
    str,
    AfterValidator(Like(RUN_NAME, "not 1 to 120 letters, digits, dots, underscores and hyphens")),
    WithJsonSchema({"type": "string", "pattern": f"^{RUN_NAME.pattern}$"}),
]
TopicName = Annotated[str, AfterValidator(_topic), WithJsonSchema({"type": "string", "pattern": f"^{TOPIC_NAME.pattern}$"})]
Words = Annotated[str, AfterValidator(_words), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 255})]
Principal = Annotated[Words, AfterValidator(Like(PRINCIPAL, "not a principal such as User:order-service"))]
Secret = Annotated[
    str,
    AfterValidator(Like(SECRET_REFERENCE, "holds a secret in the open: write env:NAME or file:/path", shown=False)),
    WithJsonSchema({"type": "string", "pattern": f"^({SECRET_REFERENCE.pattern})$"}),
]
Clock = Annotated[
    str,
    AfterValidator(Like(CLOCK, 'not a time of day such as "10:00"')),
    WithJsonSchema({"type": "string", "pattern": f"^{CLOCK.pattern}$"}),
]
Moment = Annotated[str, AfterValidator(_moment), WithJsonSchema({"type": "string", "format": "earliest, now or an ISO 8601 time"})]
Partitioner = Annotated[
    str, AfterValidator(_partitioner), WithJsonSchema({"type": "string", "examples": [*FAMILIES, *ALIASES], "format": "a partitioner"})
]
ConfigValue = Annotated[
    str, BeforeValidator(_config_value), WithJsonSchema({"type": ["string", "integer", "boolean"], "format": "a value or inherit"})
]
Servers = Annotated[str, AfterValidator(_servers), WithJsonSchema({"type": "string", "format": "HOST:PORT, ..."})]
