"""Whether two topics hold the same records in the same order per key, whoever wrote which of them where."""

from collections import defaultdict

from tests.judge.reading import read_settled


def compare_topics(bootstrap: str, one: str, other: str, records: int) -> list[str]:
    """What speaks against both holding these many records, equal per key; nothing when all is well."""
    said = []
    sequences = {}
    for topic in (one, other):
        of_key: dict[bytes | None, list[bytes | None]] = defaultdict(list)
        partitions: dict[bytes | None, set[int]] = defaultdict(set)
        for record in read_settled(bootstrap, topic):
            of_key[record.key].append(record.value)
            partitions[record.key].add(record.partition)
        sequences[topic] = dict(of_key)
        count = sum(map(len, of_key.values()))
        said += [f"{topic} holds {count} records, not {records}"] if count != records else []
        said += [f"{key!r} sits in partitions {sorted(found)} of {topic}" for key, found in partitions.items() if len(found) > 1]
    keys = sequences[one].keys() | sequences[other].keys()
    said += [f"{key!r} differs" for key in sorted(keys, key=str) if sequences[one].get(key) != sequences[other].get(key)]
    return said
