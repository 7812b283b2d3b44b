"""The formulas against what real clients answered, the names users write, and what `fit` says of topics written in known ways."""

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.errors import UnknownNullKeyPolicy, UnknownPartitioner
from cutover.lineage import Lineage
from cutover.partitioners import ALIASES, FAMILIES, KEY_IGNORED, Verdict, family, fit, murmur2, null_key_partition, partition

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "partitioners.json").read_text())
GOLDEN_KEYS = [bytes.fromhex(key) for key in GOLDEN["keys"]]

Sample = list[tuple[bytes | None, int]]

names = st.sampled_from(sorted(FAMILIES))
counts = st.integers(1, 200)


def topic_keys(how_many: int) -> list[bytes]:
    return [f"customer-{number:08}".encode() for number in range(how_many)]


def written_by(name: str, keys: Iterable[bytes], count: int) -> Sample:
    return [(key, partition(name, key, count)) for key in keys]


@pytest.mark.parametrize("table", GOLDEN["tables"], ids=lambda table: str(table["family"]))
def test_a_family_places_every_key_like_the_real_clients(table: dict[str, Any]) -> None:
    known = FAMILIES[table["family"]]
    for count, placements in table["placements"].items():
        for key, where in zip(GOLDEN_KEYS, placements, strict=True):
            if where is None:
                assert not known.decides(key)
            else:
                assert known.place(key, int(count)) == where, (key, count)


def test_every_family_has_stored_vectors_from_a_named_client() -> None:
    asked = [GOLDEN["tables"][run["table"]]["family"] for run in GOLDEN["runs"]]
    assert set(asked) == set(FAMILIES)
    assert all(run["version"] and run["vectors"] >= 3_900 for run in GOLDEN["runs"])


def test_the_stored_keys_cover_all_bytes_and_all_short_lengths() -> None:
    assert {key[0] for key in GOLDEN_KEYS if len(key) == 1} == set(range(256))
    assert {len(key) for key in GOLDEN_KEYS} >= {*range(41), 1024}


def test_murmur2_gives_the_published_hashes() -> None:
    assert murmur2(b"21") == -973932308 % 2**32
    assert murmur2(b"foobar") == -790332482 % 2**32


@given(names, st.binary(max_size=80), counts)
def test_a_partition_is_one_that_exists(name: str, key: bytes, count: int) -> None:
    assert 0 <= partition(name, key, count) < count


@given(names, st.binary(max_size=80), counts, counts)
def test_a_key_lands_only_in_children_of_its_origin_partition(name: str, key: bytes, origin: int, follower: int) -> None:
    lineage = Lineage(origin, follower)
    p, q = partition(name, key, origin), partition(name, key, follower)
    assert p in lineage.parents(q)
    assert q in lineage.children(p)


@pytest.mark.parametrize(("word", "name"), [*ALIASES.items(), ("Murmur2-Random", "murmur2"), (" NewHashPartitioner ", "fnv1a")])
def test_a_client_setting_names_its_family(word: str, name: str) -> None:
    assert family(word) is FAMILIES[name]


def test_an_unknown_partitioner_is_refused_with_the_known_ones_and_a_close_one() -> None:
    with pytest.raises(UnknownPartitioner) as raised:
        partition("mumur2", b"key", 6)
    assert raised.value.id == "CUT-PLN-001"
    assert raised.value.exit_code == 2
    assert raised.value.fields == {"known": list(FAMILIES), "suggestion": "murmur2"}
    assert "Did you mean murmur2?" in raised.value.why
    assert all(name in raised.value.why for name in FAMILIES)


def test_an_alias_written_wrongly_suggests_the_family_behind_it() -> None:
    with pytest.raises(UnknownPartitioner, match="is not known") as raised:
        family("consistent_randm")
    assert raised.value.fields["suggestion"] == "crc32"


def test_a_name_like_no_other_gets_no_suggestion() -> None:
    with pytest.raises(UnknownPartitioner) as raised:
        family("xyzzy")
    assert "Did you mean" not in raised.value.why


@pytest.mark.parametrize("name", KEY_IGNORED)
def test_a_partitioner_that_ignores_keys_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(UnknownPartitioner, match="does not place records by key") as raised:
        family(name)
    assert KEY_IGNORED[name] in raised.value.why


def test_only_the_librdkafka_default_places_the_empty_key_at_random() -> None:
    assert [name for name, known in FAMILIES.items() if not known.decides(b"")] == ["crc32"]
    assert not any(known.decides(None) for known in FAMILIES.values())
    assert all(known.decides(b"k") for known in FAMILIES.values())


@pytest.mark.parametrize(
    "vector", GOLDEN["null_keys"], ids=lambda v: "{policy}-{origin_count}-{follower_count}-{origin_offset}".format(**v)
)
def test_a_null_key_lands_where_the_vectors_say(vector: dict[str, Any]) -> None:
    where = {name: value for name, value in vector.items() if name != "partition"}
    assert null_key_partition(**where) == vector["partition"]


@given(st.sampled_from(["keep_partition", "spread"]), counts, counts, st.data())
def test_a_null_key_stays_among_the_children_of_its_partition(policy: str, origin: int, follower: int, data: st.DataObject) -> None:
    p = data.draw(st.integers(0, origin - 1))
    offset = data.draw(st.integers(0, 2**63 - 1))
    assert null_key_partition(policy, p, offset, origin, follower) in Lineage(origin, follower).children(p)


@given(counts, counts, st.data())
def test_keeping_the_partition_survives_a_flip_there_and_back(origin: int, follower: int, data: st.DataObject) -> None:
    p = data.draw(st.integers(0, min(origin, follower) - 1))
    there = null_key_partition("keep_partition", p, 0, origin, follower)
    assert there == p
    assert null_key_partition("keep_partition", there, 0, follower, origin) == p


def test_spreading_uses_all_children_evenly() -> None:
    landed = [null_key_partition("spread", 5, offset, 6, 24) for offset in range(8)]
    assert landed == [5, 11, 17, 23, 5, 11, 17, 23]


def test_an_unknown_policy_for_null_keys_is_refused() -> None:
    with pytest.raises(UnknownNullKeyPolicy, match="anywhere") as raised:
        null_key_partition("anywhere", 0, 0, 6, 24)
    assert raised.value.fields["known"] == ["keep_partition", "spread"]


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - {"crc32_consistent"}))
@pytest.mark.parametrize("count", [2, 6, 7, 12, 200])
def test_fit_names_the_family_that_wrote_the_topic(name: str, count: int) -> None:
    found = fit(written_by(name, topic_keys(2_000), count), count)
    assert found.verdict == "fits"
    assert name in (*found.families, *found.alike)
    assert found.ranking[0].share == 1
    assert found.ranking[0].keys_unexplained == 0
    assert found.split_keys == {}


def test_fit_tells_the_sign_bit_apart_unless_the_count_is_a_power_of_two() -> None:
    keys = topic_keys(2_000)
    assert fit(written_by("murmur2_unmasked", keys, 12), 12).families == ("murmur2_unmasked",)
    hidden = fit(written_by("murmur2_unmasked", keys, 8), 8)
    assert (hidden.families, hidden.alike) == (("murmur2",), ("murmur2_unmasked",))
    assert "cannot be told from it with 8 partitions" in hidden.explain()


def test_fit_ranks_every_family_with_counts_that_add_up() -> None:
    sample = written_by("fnv1a", topic_keys(1_000), 12) * 3
    found = fit(sample, 12)
    assert {score.family for score in found.ranking} == set(FAMILIES)
    assert all(score.keys_explained + score.keys_unexplained == 1_000 for score in found.ranking)
    assert found.ranking[0].records_explained == found.records == 3_000
    shares = {score.family: score.share for score in found.ranking}
    assert shares["fnv1a_reference"] == pytest.approx(0.58, abs=0.06)
    assert shares["murmur2"] == pytest.approx(1 / 12, abs=0.04)


def test_empty_keys_do_not_count_against_the_librdkafka_default() -> None:
    keyed = written_by("consistent_random", topic_keys(500), 6)
    found = fit([*keyed, *((b"", where) for where in range(6))], 6)
    assert (found.verdict, found.families, found.empty_keys) == ("fits", ("crc32",), 6)
    assert found.alike == ()
    assert found.split_keys == {b"": (0, 1, 2, 3, 4, 5)}


def test_empty_keys_in_one_partition_point_to_the_clients_that_hash_them() -> None:
    found = fit(written_by("consistent", [b"", *topic_keys(500)], 6), 6)
    assert (found.families, found.alike) == (("crc32_consistent",), ("crc32",))


def test_null_keys_are_counted_and_judged_by_nobody() -> None:
    found = fit([(None, 3), (None, 4), *written_by("java", topic_keys(100), 6)], 6)
    assert (found.verdict, found.null_keys, found.records, found.distinct_keys) == ("fits", 2, 102, 100)


def test_two_families_on_one_topic_are_both_named_and_their_keys_are_split() -> None:
    keys = topic_keys(1_000)
    found = fit([*written_by("murmur2", keys, 12), *written_by("crc32", keys[:400], 12)], 12)
    assert found.verdict == "mixed"
    assert found.families == ("murmur2", "crc32")
    apart = [key for key in keys[:400] if partition("murmur2", key, 12) != partition("crc32", key, 12)]
    assert set(found.split_keys) == set(apart)
    assert found.split_keys[apart[0]] == tuple(sorted({partition("murmur2", apart[0], 12), partition("crc32", apart[0], 12)}))
    assert found.ranking[0].keys_explained == 1_000 - len(apart)


def test_three_families_on_one_topic_are_all_named() -> None:
    keys = topic_keys(1_500)
    sample = [*written_by("murmur2", keys[:600], 9), *written_by("crc32", keys[600:1100], 9), *written_by("sarama", keys[1100:], 9)]
    assert set(fit(sample, 9).families) == {"murmur2", "crc32", "fnv1a"}


def test_an_altered_topic_is_recognised_with_its_earlier_count() -> None:
    keys = topic_keys(1_000)
    found = fit([*written_by("murmur2", keys[:500], 6), *written_by("murmur2", keys, 12)], 12)
    assert (found.verdict, found.families, found.earlier_count) == ("altered", ("murmur2",), 6)
    assert "with 6 partitions" in found.explain()


def test_some_explicit_partitions_leave_the_family_partly_right() -> None:
    rng = random.Random(4)
    explicit: Sample = [(key, rng.randrange(12)) for key in topic_keys(1_400)[1_000:]]
    found = fit([*written_by("murmur2", topic_keys(1_000), 12), *explicit], 12)
    assert (found.verdict, found.families) == ("partly", ("murmur2",))


@pytest.mark.parametrize("seed", range(20))
def test_keys_at_random_fit_no_family(seed: int) -> None:
    rng = random.Random(seed)
    found = fit([(key, rng.randrange(6)) for key in topic_keys(2_000)], 6)
    assert (found.verdict, found.families, found.alike) == ("no_family", (), ())


@pytest.mark.parametrize(("how_many", "count"), [(1, 200), (3, 12), (7, 6), (500, 1)])
def test_too_little_evidence_is_not_taken_for_a_fit(how_many: int, count: int) -> None:
    assert fit(written_by("murmur2", topic_keys(how_many), count), count).verdict == "undecided"


@pytest.mark.parametrize("sample", [[], [(None, 1)] * 50, [(b"", 0)] * 50], ids=["nothing", "null keys", "empty keys"])
def test_a_sample_without_keys_is_said_to_be_one(sample: Sample) -> None:
    assert fit(sample, 6).verdict == "no_keys"


def test_a_partition_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="partition 6 is not one of 0 to 5"):
        fit([(b"key", 6)], 6)


def test_the_words_of_every_verdict_show_no_key() -> None:
    keys = topic_keys(300)
    for sample in ([], written_by("java", keys, 6), [*written_by("java", keys, 6), *written_by("sarama", keys, 6)]):
        assert "customer" not in fit(sample, 6).explain()


def test_the_page_on_partitioners_names_every_family_alias_and_verdict() -> None:
    page = (Path(__file__).parents[2] / "docs" / "partitioners.md").read_text()
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    assert {*FAMILIES, *get_args(Verdict)} == set(rows)
    assert all(f"`{alias}`" in rows[name] for alias, name in ALIASES.items())
    assert all(rows[name].endswith(f"{known.empty_key} |") for name, known in FAMILIES.items())


def test_the_page_on_partitioners_counts_the_vectors_as_they_are() -> None:
    page = (Path(__file__).parents[2] / "docs" / "partitioners.md").read_text()
    clients = {run["client"] for run in GOLDEN["runs"]}
    versions = {(run["client"], run["version"]) for run in GOLDEN["runs"]}
    asked = f"{len(GOLDEN_KEYS)} keys, {len(GOLDEN['tables'][0]['placements'])} partition counts, {len(GOLDEN['runs'])} settings"
    assert f"{asked} of {len(clients)} clients in {len(versions)} versions" in page
