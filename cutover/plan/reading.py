"""From a file to a Plan: everything that is wrong with it at once, each with its line, or a plan whose fields know their lines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as File

from pydantic import ValidationError

from cutover.errors import PlanInvalid, PlanUnreadable
from cutover.plan import rules
from cutover.plan.environment import expanded, secrets
from cutover.plan.model import Plan, sound_parts
from cutover.plan.source import Place, Text, parse
from cutover.plan.words import wrongs_of
from cutover.plan.wrong import Path, Wrong, dotted

LARGEST_BYTES = 1_000_000


@dataclass(frozen=True, order=True, slots=True)
class Finding:
    """Something to say about one field of a file."""

    file: str
    place: Place
    path: str
    what: str

    def __str__(self) -> str:
        """The finding as editors and people read it: file:line:column: path: what."""
        return f"{self.file}:{self.place.line}:{self.place.column}: {self.path}: {self.what}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A plan and the file it came from."""

    plan: Plan
    file: str
    text: Text

    def place(self, path: Path) -> Place:
        """The line and column of a field, or of what it would stand in."""
        return self.text.place(path)

    def finding(self, wrong: Wrong) -> Finding:
        """Something about a field of this file."""
        return Finding(self.file, self.place(wrong.path), dotted(wrong.path), wrong.what)


def load(path: File, environ: Mapping[str, str]) -> Plan:
    """The plan in a file; raises PlanUnreadable, and PlanInvalid with all that is wrong."""
    return read(path, environ).plan


def read(path: File, environ: Mapping[str, str]) -> Loaded:
    """The plan in a file, with the lines of its fields; raises as `load` does."""
    return understand(_contents(path), str(path), environ)


def understand(contents: str, file: str, environ: Mapping[str, str]) -> Loaded:
    """The plan in a text that came from this file."""
    text = parse(contents)
    wrongs = list(text.wrongs)
    plan, of_fields = (None, []) if text.values is None else _plan(text, environ)
    wrongs += [(text.place(each.path), each) for each in of_fields]
    if plan is None or wrongs:
        raise _invalid(file, sorted(Finding(file, place, dotted(each.path), each.what) for place, each in wrongs))
    return Loaded(plan, file, text)


def _plan(text: Text, environ: Mapping[str, str]) -> tuple[Plan | None, list[Wrong]]:
    wrongs = list(secrets(text.values))
    values = expanded(text.values, environ, wrongs)
    said = {each.path for each in wrongs}
    sound: dict[str, object] = {}
    try:
        return Plan.model_validate(values, context=sound), wrongs
    except ValidationError as error:
        found = [*wrongs_of(error, values), *(rules.broken(sound_parts(sound, values)) if isinstance(values, dict) else ())]
        return None, [*wrongs, *dict.fromkeys(each for each in found if each.path not in said)]


def _invalid(file: str, found: Sequence[Finding]) -> PlanInvalid:
    errors = [
        {"file": each.file, "line": each.place.line, "column": each.place.column, "path": each.path, "what": each.what} for each in found
    ]
    count = "one error" if len(found) == 1 else f"{len(found)} errors"
    return PlanInvalid(f"{file} has {count}", why="\n           ".join(map(str, found)), errors=errors)


def _contents(path: File) -> str:
    try:
        with path.open("rb") as stream:
            read_bytes = stream.read(LARGEST_BYTES + 1)
        if len(read_bytes) > LARGEST_BYTES:
            raise PlanUnreadable(f"{path} is larger than a plan can be", why=f"A plan has at most {LARGEST_BYTES:,} bytes.", file=str(path))
        return read_bytes.decode("utf-8-sig")
    except OSError as error:
        raise PlanUnreadable(f"{path} cannot be read", why=error.strerror or str(error), file=str(path)) from error
    except UnicodeDecodeError as error:
        raise PlanUnreadable(
            f"{path} is not UTF-8 text", why=f"Byte {error.start + 1} is not part of any character.", file=str(path)
        ) from error
