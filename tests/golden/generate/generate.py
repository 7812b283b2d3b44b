"""Writes tests/golden/partitioners.json: what real clients answered, and the vectors of our own rules for null keys and lineages.

Installs the clients into a cache directory, gives each the same keys, and stores each distinct answer once. Run by hand, see README.md.
"""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cutover.lineage import Lineage
from cutover.partitioners import NULL_KEY_POLICIES, null_key_partition

HERE = Path(__file__).parent
STORED = HERE.parent / "partitioners.json"
CACHE = HERE.parents[2] / ".cache" / "golden"

COUNTS = (1, 2, 3, 6, 7, 9, 12, 24, 100, 200)
PAIRS = ((6, 24), (24, 6), (6, 9), (9, 6), (6, 6), (6, 7), (1, 12), (12, 1), (12, 100), (100, 200))
OFFSETS = (0, 1, 2, 3, 5, 1_000, 2**31 - 1, 2**31, 2**40 + 7, 2**63 - 1)

KAFKA_CLIENTS = ("org.apache.kafka:kafka-clients:4.3.1", "org.slf4j:slf4j-api:2.0.17")
KAFKAJS = ("1.16.0", "2.2.4")


def keys() -> list[bytes]:
    """Empty, each single byte, short words, text beyond ASCII, a long key, and random bytes of each length up to 40."""
    rng = random.Random(24)
    words = [b"foobar", b"21", b"abc", b"a-little-bit-long-string", b"user-123", b"order:0000042", b"\0" * 8, b"\xff" * 9]
    texts = ["Zürich", "Łódź", "東京", "ключ", "🔑🔑"]
    single = [bytes([byte]) for byte in range(256)]
    drawn = [rng.randbytes(length) for length in range(1, 41) for _ in range(3)]
    return [b"", *single, *words, *(text.encode() for text in texts), rng.randbytes(1024), *drawn]


def ask(command: list[str], questions: str, where: Path = HERE) -> list[list[str]]:
    """The lines that a client's program answers, split at tabs."""
    done = subprocess.run(command, input=questions, stdout=subprocess.PIPE, text=True, check=True, cwd=where)
    return [line.split("\t") for line in done.stdout.splitlines()]


def ask_java(questions: str) -> list[list[str]]:
    jars = CACHE / "java"
    for artifact in KAFKA_CLIENTS:
        subprocess.run(["mvn", "-q", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={jars}"], check=True)
    return ask(["java", "-cp", f"{jars}/*", "Vectors.java"], questions)


def ask_node(questions: str, version: str) -> list[list[str]]:
    where = CACHE / f"kafkajs-{version}"
    where.mkdir(parents=True, exist_ok=True)
    (where / "package.json").write_text("{}")
    subprocess.run(["npm", "install", "--silent", f"kafkajs@{version}"], check=True, cwd=where)
    return ask(["node", str(HERE / "kafkajs.js")], questions, where)


def ask_everybody(questions: str) -> Iterator[list[str]]:
    yield from ask_java(questions)
    yield from ask([sys.executable, "librdkafka_vectors.py"], questions)
    yield from ask([sys.executable, "kafka_python_vectors.py"], questions)
    for version in KAFKAJS:
        yield from ask_node(questions, version)
    yield from ask(["go", "run", "."], questions, HERE / "go")


def collect(answers: Iterator[list[str]]) -> dict[str, Any]:
    """Runs (client, version, setting) and the tables they point to; equal answers for one family share a table."""
    placements: dict[tuple[str, str, str, str], dict[str, list[int | None]]] = {}
    for client, version, setting, family, count, words in answers:
        row = [None if word == "-" else int(word) for word in words.split(" ")]
        placements.setdefault((client, version, setting, family), {})[count] = row
    tables: list[dict[str, Any]] = []
    runs = []
    for (client, version, setting, family), by_count in placements.items():
        table = {"family": family, "placements": by_count}
        if table not in tables:
            tables.append(table)
        vectors = sum(word is not None for row in by_count.values() for word in row)
        runs.append({"client": client, "version": version, "setting": setting, "table": tables.index(table), "vectors": vectors})
    return {"runs": runs, "tables": tables}


def null_keys() -> Iterator[dict[str, int | str]]:
    for origin, follower in PAIRS:
        for policy in NULL_KEY_POLICIES:
            for offset in OFFSETS:
                where = (offset + 1) % origin
                yield {
                    "policy": policy,
                    "origin_partition": where,
                    "origin_offset": offset,
                    "origin_count": origin,
                    "follower_count": follower,
                    "partition": null_key_partition(policy, where, offset, origin, follower),
                }


def lineages() -> Iterator[dict[str, Any]]:
    for origin, follower in PAIRS[:-2]:
        lineage = Lineage(origin, follower)
        yield {
            "origin_count": origin,
            "follower_count": follower,
            "parents": [list(lineage.parents(q)) for q in range(follower)],
            "children": [list(lineage.children(p)) for p in range(origin)],
        }


def text_of(document: dict[str, Any]) -> str:
    """JSON with one line per list of answers, so that a change shows in a diff."""
    compact = json.JSONEncoder(separators=(",", ":")).encode
    parts = []
    for name, value in document.items():
        lines = ",\n".join(f"  {compact(item)}" for item in value)
        parts.append(f" {compact(name)}: [\n{lines}\n ]")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main() -> None:
    """Asks every client and replaces the stored file."""
    asked = keys()
    questions = "\n".join([" ".join(map(str, COUNTS)), *(key.hex() or "-" for key in asked)]) + "\n"
    document = collect(ask_everybody(questions))
    document = {"keys": [key.hex() for key in asked], **document, "null_keys": list(null_keys()), "lineages": list(lineages())}
    STORED.write_text(text_of(document))
    for run in document["runs"]:
        print(f"{run['vectors']:>6} vectors  table {run['table']}  {run['client']} {run['version']}  {run['setting']}")
    print(f"{STORED.stat().st_size:,} bytes, {len(asked)} keys, {len(document['tables'])} tables")


if __name__ == "__main__":
    main()
