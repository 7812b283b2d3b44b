from cutover.model import ConfigChange, ConfigSource, ConfigValue
from cutover.pinning import FOR_EVER, PROVENANCE_ROOM_BYTES, changes, pinning


def configs(explicit: dict[str, str] | None = None, default: dict[str, str] | None = None) -> dict[str, ConfigValue]:
    told = {"max.message.bytes": "1000", "cleanup.policy": "delete", "retention.ms": "604800000", **(default or {})}
    found = {name: ConfigValue(value, ConfigSource.DEFAULT) for name, value in told.items()}
    return found | {name: ConfigValue(value, ConfigSource.TOPIC) for name, value in (explicit or {}).items()}


def test_both_topics_keep_everything_and_take_what_the_other_may_hold() -> None:
    pins = pinning(configs(), 6, {}, 24)
    assert pins.source["retention.ms"] == ConfigChange(None, "-1")
    assert pins.target["retention.bytes"] == "-1"
    room = str(1000 + PROVENANCE_ROOM_BYTES)
    assert pins.source["max.message.bytes"].wanted == pins.target["max.message.bytes"] == room


def test_what_is_pinned_already_is_left_alone() -> None:
    assert "retention.ms" not in pinning(configs({"retention.ms": "-1"}), 6, {}, 24).source


def test_a_compacted_topic_is_not_compacted_before_it_is_proved() -> None:
    pins = pinning(configs({"cleanup.policy": "compact"}), 6, {}, 24)
    assert pins.target["min.compaction.lag.ms"] == FOR_EVER
    assert pins.source["delete.retention.ms"].wanted == FOR_EVER


def test_in_the_end_the_target_has_the_explicit_configs_of_the_source_and_those_of_the_plan() -> None:
    pins = pinning(configs({"retention.ms": "1000", "compression.type": "lz4"}), 6, {"retention.ms": "2000"}, 24)
    assert pins.final == {"retention.ms": "2000", "compression.type": "lz4"}
    assert pins.target["compression.type"] == "lz4"


def test_inherit_takes_the_effective_value_and_scales_what_counts_per_partition() -> None:
    source = configs(default={"retention.bytes": "1001"})
    pins = pinning(source, 6, {"retention.ms": "inherit", "retention.bytes": "inherit"}, 24)
    assert pins.final == {"retention.ms": "604800000", "retention.bytes": "251"}


def test_inherit_of_a_config_that_the_source_has_not_is_no_config() -> None:
    assert pinning(configs(), 6, {"no.such": "inherit"}, 24).final == {}


def test_a_source_that_may_not_be_changed_is_not() -> None:
    assert pinning(configs(), 6, {}, 24, may_change_source=False).source == {}


def test_times_of_records_are_kept_on_the_target() -> None:
    assert pinning(configs({"message.timestamp.type": "LogAppendTime"}), 6, {}, 24).target["message.timestamp.type"] == "CreateTime"


def test_changes_lead_from_one_set_of_configs_to_the_other() -> None:
    found = changes({"a": "1", "b": "2", "same": "x"}, {"b": "3", "c": "4", "same": "x"})
    assert found == {"a": ConfigChange("1", None), "b": ConfigChange("2", "3"), "c": ConfigChange(None, "4")}
