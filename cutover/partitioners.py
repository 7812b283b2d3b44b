"""What each Kafka client does with a key: the formulas, their names, and which of them a topic's records obey.

Pure: bytes and counts in, partitions out. The same formulas in Go are engine/partition; tests/golden/partitioners.json holds
what the real clients answered, and both must reproduce it. Which partitions relate to which is lineage.py.
"""

import difflib
import math
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Literal

from cutover.errors import UnknownNullKeyPolicy, UnknownPartitioner
from cutover.lineage import Lineage

_U32 = 0xFFFFFFFF
_SIGN = 0x80000000
_MURMUR_SEED = 0x9747B28C
_MURMUR_M = 0x5BD1E995


def murmur2(key: bytes) -> int:
    """Kafka's 32-bit murmur2 of the key, unsigned (org.apache.kafka.common.utils.Utils.murmur2)."""
    words = len(key) >> 2
    h = _MURMUR_SEED ^ len(key)
    for k in struct.unpack_from(f"<{words}I", key):
        k = k * _MURMUR_M & _U32
        h = (h * _MURMUR_M ^ (k ^ k >> 24) * _MURMUR_M) & _U32
    if tail := key[words << 2 :]:
        h = (h ^ int.from_bytes(tail, "little")) * _MURMUR_M & _U32
    h = (h ^ h >> 13) * _MURMUR_M & _U32
    return h ^ h >> 15


def murmur2_kafkajs_legacy(key: bytes) -> int:
    """The murmur2 of KafkaJS before 2.0, unsigned: products rounded to doubles, and the tail hashed as a word of its own too."""
    h = _MURMUR_SEED ^ len(key)
    whole = len(key) & ~3
    for k in struct.unpack(f"<{(len(key) + 3) >> 2}I", key.ljust((len(key) + 3) & ~3, b"\0")):
        k = _double_product(k)
        h = _double_product(h) ^ _double_product(k ^ k >> 24)
    if tail := key[whole:]:
        h = _double_product(h ^ int.from_bytes(tail, "little"))
    h = _double_product(h ^ h >> 13)
    return h ^ h >> 15


def _double_product(word: int) -> int:
    # JavaScript multiplies signed 32-bit values as IEEE doubles, which drops the low bits that the next 32-bit operation looks at.
    return int((word - ((word & _SIGN) << 1)) * float(_MURMUR_M)) & _U32


def fnv1a(key: bytes) -> int:
    """32-bit FNV-1a of the key, unsigned."""
    h = 0x811C9DC5
    for byte in key:
        h = (h ^ byte) * 0x01000193 & _U32
    return h


def _masked(h: int, count: int) -> int:
    return (h & 0x7FFFFFFF) % count


def _unsigned(h: int, count: int) -> int:
    return h % count


def _absolute(h: int, count: int) -> int:
    return min(h, _U32 + 1 - h) % count


@dataclass(frozen=True, slots=True)
class Family:
    """One formula and the clients that use it: place(key, count) = reduce(hash(key), count).

    `empty_key` says what these clients do with b"": hash it like any key, or treat it as no key and choose at random.
    """

    name: str
    clients: tuple[str, ...]
    hash: Callable[[bytes], int]
    reduce: Callable[[int, int], int]
    empty_key: Literal["hashed", "random"]
    source: str

    def place(self, key: bytes, count: int) -> int:
        """The partition, 0 to count - 1, where these clients put this key."""
        return self.reduce(self.hash(key), count)

    def decides(self, key: bytes | None) -> bool:
        """Whether the key alone decides the partition; where not, the record is placed by the policy for null keys."""
        return bool(key) or (key is not None and self.empty_key == "hashed")


_FAMILIES = (
    Family(
        "murmur2",
        (
            "Java default, Kafka Connect, Kafka Streams",
            "librdkafka murmur2_random and murmur2",
            "KafkaJS 2.0 and later",
            "confluent-kafka-javascript, KafkaJS-style API",
            "franz-go default",
            "kafka-python",
            "aiokafka",
            "Sarama NewMurmur2Partitioner",
            "kafka-go Murmur2Balancer",
        ),
        murmur2,
        _masked,
        "hashed",
        "kafka clients: producer/internals/BuiltInPartitioner.java, common/utils/Utils.java; librdkafka: rdkafka_msg.c, rdmurmur2.c",
    ),
    Family(
        "crc32",
        (
            "librdkafka default consistent_random: confluent-kafka for Python, Go and .NET, kcat, karafka, node-rdkafka, rust-rdkafka",
            "kafka-go CRC32Balancer",
        ),
        zlib.crc32,
        _unsigned,
        "random",
        "librdkafka: rdkafka_msg.c, rdkafka_conf.c; kafka-go: balancer.go",
    ),
    Family(
        "fnv1a",
        ("Sarama default", "librdkafka fnv1a_random and fnv1a", "kafka-go Hash", "franz-go SaramaCompatHasher"),
        fnv1a,
        _absolute,
        "hashed",
        "Sarama: partitioner.go; librdkafka: rdkafka_msg.c, rdfnv1a.c",
    ),
    Family(
        "murmur2_kafkajs_legacy",
        ("KafkaJS before 2.0", "KafkaJS LegacyPartitioner"),
        murmur2_kafkajs_legacy,
        _masked,
        "hashed",
        "KafkaJS: src/producer/partitioners/legacy/murmur2.js, docs/MigrationGuide-2-0-0.md",
    ),
    Family(
        "fnv1a_reference",
        ("Sarama NewReferenceHashPartitioner", "kafka-go ReferenceHash"),
        fnv1a,
        _masked,
        "hashed",
        "Sarama: partitioner.go; kafka-go: balancer.go",
    ),
    Family(
        "crc32_consistent",
        ("librdkafka consistent", "Sarama NewConsistentCRCHashPartitioner", "kafka-go CRC32Balancer with Consistent"),
        zlib.crc32,
        _unsigned,
        "hashed",
        "librdkafka: rdkafka_msg.c; Sarama: partitioner.go",
    ),
    Family(
        "murmur2_unmasked",
        ("KafkaEx Legacy", "Dekaf before its fix of 2026-07"),
        murmur2,
        _unsigned,
        "hashed",
        "https://github.com/thomhurst/Dekaf/issues/1336; KafkaEx: lib/kafka_ex/utils/murmur.ex",
    ),
    Family(
        "sarama_hasher64",
        ("franz-go SaramaHasher with FNV-1a, 64-bit processes (32-bit ones place like fnv1a)",),
        fnv1a,
        _unsigned,
        "hashed",
        "franz-go: pkg/kgo/partitioner.go",
    ),
)

FAMILIES: Mapping[str, Family] = MappingProxyType({family.name: family for family in _FAMILIES})
"""Every family by its name, the most used first: that order breaks ties in `fit`."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "consistent_random": "crc32",
        "consistent": "crc32_consistent",
        "murmur2_random": "murmur2",
        "fnv1a_random": "fnv1a",
        "java": "murmur2",
        "librdkafka": "crc32",
        "sarama": "fnv1a",
        "franz_go": "murmur2",
        "kafka_python": "murmur2",
        "javacompatiblepartitioner": "murmur2",
        "legacypartitioner": "murmur2_kafkajs_legacy",
        "newhashpartitioner": "fnv1a",
        "newreferencehashpartitioner": "fnv1a_reference",
        "newconsistentcrchashpartitioner": "crc32_consistent",
        "newmurmur2partitioner": "murmur2",
        "saramacompathasher": "fnv1a",
        "saramahasher": "sarama_hasher64",
        "referencehash": "fnv1a_reference",
        "crc32balancer": "crc32",
        "murmur2balancer": "murmur2",
    }
)
"""What clients call their setting, in lower case with underscores, to the name of its family."""

KEY_IGNORED: Mapping[str, str] = MappingProxyType(
    {
        "round_robin": "RoundRobinPartitioner of Java and the default of kafka-go's Writer: records with one key go to all partitions",
        "ignore_keys": "partitioner.ignore.keys=true of Java: the key is not looked at",
        "random": "librdkafka random: the key is not looked at",
        "explicit": "the application names the partition: only its own code says which",
        "same_partition": "MirrorMaker 2, Cluster Linking and other identity copiers: the partition number of the origin",
    }
)
"""Ways to place a record that are no formula over its key, so that no follower can be made from them by key."""


def family(name: str) -> Family:
    """The family of this name, or of the client's own word for it (`consistent_random`). Raises UnknownPartitioner."""
    word = name.strip().lower().replace("-", "_").replace(" ", "_")
    known = FAMILIES.get(ALIASES.get(word, word))
    if known is None:
        raise _unknown(name, word)
    return known


def partition(name: str, key: bytes, count: int) -> int:
    """The partition, 0 to count - 1, where the family (or alias) puts the key. Raises UnknownPartitioner."""
    return family(name).place(key, count)


def _unknown(name: str, word: str) -> UnknownPartitioner:
    known = list(FAMILIES)
    if word in KEY_IGNORED:
        why = f"It is no formula over the key: {KEY_IGNORED[word]}."
        return UnknownPartitioner(f"partitioner {name!r} does not place records by key", why=why, known=known)
    close = difflib.get_close_matches(word, [*FAMILIES, *ALIASES], n=1, cutoff=0.6)
    suggestion = ALIASES.get(close[0], close[0]) if close else None
    hint = f" Did you mean {suggestion}?" if suggestion else ""
    why = f"Known are {', '.join(known)}.{hint}"
    return UnknownPartitioner(f"partitioner {name!r} is not known", why=why, known=known, suggestion=suggestion)


NullKeyPolicy = Literal["keep_partition", "spread"]
NULL_KEY_POLICIES: tuple[NullKeyPolicy, ...] = ("keep_partition", "spread")


def null_key_partition(policy: str, origin_partition: int, origin_offset: int, origin_count: int, follower_count: int) -> int:
    """The follower partition of a record without a key, a function of its coordinates alone: a re-copy lands where the first did.

    `keep_partition` keeps the partition's number (modulo a smaller follower's count), and so the order within it. `spread` deals
    the records out over the children of the origin partition. Raises UnknownNullKeyPolicy.
    """
    if policy == "keep_partition":
        return origin_partition % follower_count
    if policy == "spread":
        children = Lineage(origin_count, follower_count).children(origin_partition)
        return children[origin_offset % len(children)]
    known = list(NULL_KEY_POLICIES)
    raise UnknownNullKeyPolicy(f"policy for null keys {policy!r} is not known", why=f"Known are {' and '.join(known)}.", known=known)


Verdict = Literal["fits", "altered", "mixed", "partly", "no_family", "undecided", "no_keys"]

_SAID: Mapping[Verdict, str] = MappingProxyType(
    {
        "fits": "every key sits where {families} puts it",
        "altered": "{families}, and the rest sits where it puts keys with {earlier} partitions: the topic was altered",
        "mixed": "several families write this topic: {families}",
        "partly": "{families} explains only some keys: others are placed by an unknown formula or by explicit partitions",
        "no_family": "no known formula explains the keys better than chance: keys are ignored, or partitions are explicit",
        "undecided": "too few different keys to tell the families apart",
        "no_keys": "no record of the sample has a key that decides its partition",
    }
)


@dataclass(frozen=True, slots=True)
class Score:
    """How well one family explains a sample. A key is explained when all its records sit where the family puts it."""

    family: str
    keys_explained: int
    keys_unexplained: int
    records_explained: int

    @property
    def share(self) -> float:
        """Explained keys among those the family decides, 0 to 1; 0 when there are none."""
        return self.keys_explained / max(1, self.keys_explained + self.keys_unexplained)


@dataclass(frozen=True, slots=True)
class Fit:
    """Which families explain where a topic's keys sit.

    `ranking` has every family, best first. `families` are those the verdict speaks of; `alike` explain the sample as well as the
    first of them and cannot be told from it at this count (a power of two hides the sign bit). `split_keys` maps each key seen in two or
    more partitions to them, ascending. `earlier_count` is the count before the topic was altered, where that explains the rest.
    """

    count: int
    records: int
    null_keys: int
    empty_keys: int
    distinct_keys: int
    split_keys: Mapping[bytes, tuple[int, ...]]
    ranking: tuple[Score, ...]
    verdict: Verdict
    families: tuple[str, ...]
    alike: tuple[str, ...]
    earlier_count: int | None

    def explain(self) -> str:
        """The verdict in one sentence, without any key."""
        said = _SAID[self.verdict].format(families=" and ".join(self.families), earlier=self.earlier_count)
        if not self.alike:
            return said
        return f"{said}; {' and '.join(self.alike)} cannot be told from it with {self.count} partitions: look at the producers"


def fit(sample: Iterable[tuple[bytes | None, int]], count: int) -> Fit:
    """Ranks the families by how many keys of the sample (key, partition) each explains on a topic of `count` partitions.

    Costs one hash of each kind per distinct key. Raises ValueError for a partition outside 0 to count - 1.
    """
    sightings = _Sightings.of(sample, count)
    ranking = sightings.ranking()
    verdict, families, earlier = _judge(sightings, ranking[0])
    alike = tuple(s.family for s in ranking[1:] if _explains_all(s)) if verdict == "fits" else ()
    return Fit(
        count=count,
        records=sightings.records,
        null_keys=sightings.null_keys,
        empty_keys=sum(sightings.keys.get(b"", {}).values()),
        distinct_keys=len(sightings.keys),
        split_keys={key: tuple(sorted(seen)) for key, seen in sightings.keys.items() if len(seen) > 1},
        ranking=ranking,
        verdict=verdict,
        families=families,
        alike=alike,
        earlier_count=earlier,
    )


_Pair = tuple[bytes, int]

_RESIDUAL_PAIRS_LOOKED_AT = 20_000
_FEWEST_KEYS_TO_JUDGE = 4


@dataclass(frozen=True, slots=True)
class _Sightings:
    """A sample folded to what matters: for each key, the records seen per partition."""

    count: int
    records: int
    null_keys: int
    keys: Mapping[bytes, dict[int, int]]

    @classmethod
    def of(cls, sample: Iterable[tuple[bytes | None, int]], count: int) -> "_Sightings":
        keys: dict[bytes, dict[int, int]] = {}
        null_keys = records = 0
        for (key, where), times in Counter(sample).items():
            if not 0 <= where < count:
                raise ValueError(f"partition {where} is not one of 0 to {count - 1}")
            records += times
            if key is None:
                null_keys += times
            else:
                keys.setdefault(key, {})[where] = times
        return cls(count, records, null_keys, keys)

    def ranking(self) -> tuple[Score, ...]:
        """One score per family, by share, then by keys explained, then in the order of FAMILIES."""
        explained, records = Counter[str](), Counter[str]()
        for hashes, families in _by_hash().items():
            for key, seen in self.keys.items():
                h = hashes(key)
                for one in families:
                    found = seen.get(one.reduce(h, self.count), 0)
                    if found and one.decides(key):
                        explained[one.name] += len(seen) == 1
                        records[one.name] += found
        scores = (Score(one.name, explained[one.name], self._decided_by(one) - explained[one.name], records[one.name]) for one in _FAMILIES)
        return tuple(sorted(scores, key=lambda score: (-score.share, -score.keys_explained)))

    def pairs(self) -> Iterator[_Pair]:
        """Each key with each partition it was seen in, but for the empty key, which some clients place at random."""
        return ((key, where) for key, seen in self.keys.items() if key for where in seen)

    def _decided_by(self, one: Family) -> int:
        return len(self.keys) - (b"" in self.keys and not one.decides(b""))


def _by_hash() -> Mapping[Callable[[bytes], int], list[Family]]:
    groups: dict[Callable[[bytes], int], list[Family]] = {}
    for one in _FAMILIES:
        groups.setdefault(one.hash, []).append(one)
    return groups


def _judge(sightings: _Sightings, best: Score) -> tuple[Verdict, tuple[str, ...], int | None]:
    pairs = list(sightings.pairs())
    count = sightings.count
    if not pairs:
        return "no_keys", (), None
    if not _above_chance(len(pairs), len(pairs), count):
        return "undecided", (), None
    if _explains_all(best):
        return "fits", (best.family,), None
    families, rest = _cover(pairs, count)
    if not families:
        return "no_family", (), None
    if len(families) == 1 and (earlier := _earlier_count(FAMILIES[families[0]], rest, count)):
        return "altered", families, earlier
    return ("mixed" if len(families) > 1 else "partly"), families, None


def _explains_all(score: Score) -> bool:
    return score.keys_explained > 0 and score.keys_unexplained == 0


def _above_chance(explained: int, pairs: int, count: int) -> bool:
    """Whether more pairs are explained than a formula unrelated to the keys would explain, by six standard deviations."""
    chance = 1 / count
    bound = pairs * chance + 6 * math.sqrt(pairs * chance * (1 - chance))
    return explained >= _FEWEST_KEYS_TO_JUDGE and explained > bound


def _cover(pairs: list[_Pair], count: int) -> tuple[tuple[str, ...], list[_Pair]]:
    """The families that each explain more than chance of what those before them left, and what is left after all of them."""
    families: list[str] = []
    rest = pairs
    while rest:
        looked_at = list(islice(rest, _RESIDUAL_PAIRS_LOOKED_AT))
        explained = {one.name: sum(one.place(key, count) == where for key, where in looked_at) for one in _FAMILIES}
        name = max(explained, key=explained.__getitem__)
        if not _above_chance(explained[name], len(looked_at), count) or _earlier_in(families, looked_at, count):
            break
        families.append(name)
        rest = [(key, where) for key, where in rest if FAMILIES[name].place(key, count) != where]
    return tuple(families), rest


def _earlier_in(families: list[str], rest: list[_Pair], count: int) -> bool:
    # An altered topic must not be read as a second family that happens to agree with the old placement.
    return len(families) == 1 and _earlier_count(FAMILIES[families[0]], rest, count) is not None


def _earlier_count(one: Family, rest: list[_Pair], count: int) -> int | None:
    """The smaller partition count under which the family explains nine tenths of the rest, if there is one."""
    looked_at = [(one.hash(key), where) for key, where in islice(rest, _RESIDUAL_PAIRS_LOOKED_AT // 10)]
    explained = {before: sum(one.reduce(h, before) == where for h, where in looked_at) for before in range(2, count)}
    before = max(explained, key=explained.__getitem__, default=0)
    if not before or explained[before] < 0.9 * len(looked_at):
        return None
    return before if _above_chance(explained[before], len(looked_at), before) else None
