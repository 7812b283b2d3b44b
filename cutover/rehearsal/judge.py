"""The independent judge: from what producers were acknowledged and what consumers were given. It knows nothing of the cutover.

A record is a writer, an account and the account's own sequence number. Lost: acknowledged and never given to a group. Twice: given
again. Disordered: given for the first time after a newer one of its account. Run as a process of its own over a folder.
"""

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from cutover.rehearsal.consuming import RECORD

Account = tuple[int, int]
Given = tuple[float, int, int, int]
Failed = tuple[int, int, int]
"""Writer, account, sequence."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one group got of what was acknowledged."""

    group: str
    acknowledged: int
    given: int
    lost: int
    twice: int
    disordered: int
    unknown: int
    """Given and never acknowledged: written by somebody whose answer got lost."""

    @property
    def clean(self) -> bool:
        """Nothing lost, nothing out of order."""
        return not self.lost and not self.disordered


def judge(group: str, acknowledged: Mapping[Account, int], given: Iterable[Given], failed: Collection[Failed] = ()) -> Verdict:
    """Judge one group; `acknowledged` is the last number of each account, from 1; `failed` are those that were refused."""
    seen: dict[Account, set[int]] = defaultdict(set)
    newest: Counter[Account] = Counter()
    counts: Counter[str] = Counter()
    for _, writer, account, sequence in sorted(given):
        key = (writer, account)
        counts["given"] += 1
        if sequence in seen[key]:
            counts["twice"] += 1
            continue
        seen[key].add(sequence)
        counts["disordered"] += sequence < newest[key]
        newest[key] = max(newest[key], sequence)
        counts["unknown"] += sequence > acknowledged.get(key, 0)
    refused = {((writer, account), number) for writer, account, number in failed if number <= acknowledged.get((writer, account), 0)}
    absent = sum(last - sum(each <= last for each in seen[key]) for key, last in acknowledged.items())
    lost = absent - sum(sequence not in seen[key] for key, sequence in refused)
    return Verdict(
        group, sum(acknowledged.values()) - len(refused), counts["given"], lost, counts["twice"], counts["disordered"], counts["unknown"]
    )


def read_acknowledged(folder: Path) -> tuple[dict[Account, int], list[Failed]]:
    """The last number of each account and the refused ones, from the producers' own books."""
    found: dict[Account, int] = {}
    failed: list[Failed] = []
    for book in folder.glob("*.acknowledged"):
        writer, told = int(book.stem.rpartition("-")[2]), json.loads(book.read_text())
        found |= {(writer, int(account)): last for account, last in told["accounts"].items()}
        failed += [(writer, account, sequence) for account, sequence in told["failed"]]
    return found, failed


def read_given(folder: Path) -> dict[str, list[Given]]:
    """What each group's members wrote down; a record cut off in the middle was not given."""
    found: dict[str, list[Given]] = defaultdict(list)
    for log in sorted(folder.glob("*.read")):
        content = log.read_bytes()
        whole = content[: len(content) - len(content) % RECORD.size]
        found[log.stem.rpartition(".")[0]] += RECORD.iter_unpack(whole)
    return dict(found)


def longest_gap_ms(folder: Path) -> dict[str, float]:
    """The longest time that each producer got no acknowledgement, by its own clock."""
    return {book.stem: json.loads(book.read_text())["longest_gap_ms"] for book in folder.glob("*.acknowledged")}


def main(arguments: list[str]) -> int:
    """Judge every group of a folder; 0 when all are clean, 5 otherwise. One JSON object a line."""
    folder = Path(arguments[0])
    acknowledged, failed = read_acknowledged(folder)
    verdicts = [judge(group, acknowledged, given, failed) for group, given in sorted(read_given(folder).items())]
    for each in verdicts:
        sys.stdout.write(json.dumps({**asdict(each), "clean": each.clean}) + "\n")
    sys.stdout.write(json.dumps({"longest_gap_ms": longest_gap_ms(folder)}) + "\n")
    return 0 if all(each.clean for each in verdicts) else 5


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
