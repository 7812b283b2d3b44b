"""The names of engine faults, and the error of ours that each one is: who acts next, and why it was stopped."""

from collections.abc import Mapping

from cutover import errors
from cutover.engine.events import Fault

FAULTS: Mapping[str, tuple[type[errors.CutoverError], str]] = {
    "bad_configuration": (errors.EngineRefusedInput, "The engine checks all of its configuration before it reaches for the cluster."),
    "bad_command": (errors.EngineRefusedInput, "The engine does not know this command or one of its fields."),
    "engine_failed": (errors.EngineFailed, "The engine met an error that it has no name for, and stopped rather than guess."),
    "unreachable": (errors.NoBroker, "No broker answered before the deadline."),
    "authentication_failed": (errors.NotAuthenticated, "The broker answered and refused the login."),
    "certificate_refused": (
        errors.NotAuthenticated,
        "TLS is always verified; the broker's certificate is not signed for this name by the CA that was given.",
    ),
    "not_authorized": (errors.NotAuthorized, "The login is accepted, and an ACL forbids what the engine needs."),
    "unknown_topic": (errors.UnknownTopic, "The cluster does not list the topic to this principal."),
    "topic_recreated": (
        errors.TopicRecreated,
        "Its topic id changed: records and positions of the old topic say nothing about the new one.",
    ),
    "retention_overtook": (
        errors.RetentionOvertook,
        "The first record that is still there lies past the next one to copy; going on would leave a hole.",
    ),
    "foreign_records": (
        errors.ForeignRecords,
        "A record counts as mirrored only if a lane of this run wrote it; copying beside a foreign writer cannot be proved.",
    ),
    "hole": (errors.FollowerHole, "Going on would hide the loss; the positions and the follower's own log disagree."),
    "disorder": (errors.FollowerDisorder, "Copies that are out of order, or there twice, are not mended by copying on."),
    "positions_lost": (
        errors.PositionsLost,
        "Positions of a group that stood still expire (offsets.retention.minutes); where the copies end is then not where to begin.",
    ),
    "epoch_ended": (errors.EpochEnded, "The control topic shows a later epoch than the one this mirror was started for."),
    "lane_contested": (errors.LaneContested, "Each time the lane was taken, somebody else took it back."),
    "lanes_differ": (
        errors.LanesDiffer,
        "Lanes are fixed for the life of a run: a dead worker is fenced by the transactional id of its lane.",
    ),
    "placement_differs": (
        errors.PlacementDiffers,
        "Keys would go to other partitions than before, and the order per key would be broken.",
    ),
    "record_too_large": (errors.RecordTooLarge, "The follower refused the record; skipping it would lose it."),
    "partitions_changed": (
        errors.PartitionsChanged,
        "Keys go to other partitions from that moment on, so the order per key is no longer known.",
    ),
    "topic_gone": (errors.TopicGone, "It was deleted while the mirror ran."),
    "origin_truncated": (
        errors.OriginTruncated,
        "A log only grows unless a replica that lacked records became leader; going on would copy over a loss.",
    ),
    "foreign_positions": (errors.ForeignPositions, "A position that is not ours may skip records, or copy them twice."),
    "record_refused": (errors.RecordRefused, "The broker answered that the record itself is not allowed there; skipping it would lose it."),
    "wall_passed": (errors.WallPassed, "Nothing at or past the wall may be copied: the cut would not be one."),
    "control_unreadable": (errors.ControlUnreadable, "Who writes and who copies is read from the control topic alone."),
    "hanging_transaction": (errors.HangingTransaction, "What stands behind an open transaction cannot be read, and is never guessed."),
    "range_unreadable": (errors.RangeUnreadable, "What stands behind an open transaction cannot be read, and is never guessed."),
    "nothing_mirrored": (errors.NothingMirrored, "The range of an audit is what the mirror's group has committed."),
    "expired_unread": (errors.RangeExpired, "What was removed before it was read cannot be judged."),
    "ambiguous": (errors.WriteUnknown, "The commit was sent and its answer did not arrive."),
    "rejected": (errors.RejectedByBroker, "The broker answered that it will not do this; nothing was written."),
    "fenced": (errors.ProducerFenced, "Only one process at a time may write under a transactional id, and the newest wins."),
    "transaction_expired": (errors.TransactionExpired, "A short timeout keeps a dead process from holding readers up."),
    "transaction_open": (errors.EngineRefusedInput, "One transaction at a time: the one that is pending is finished first."),
    "not_visible": (errors.ReadTimedOut, "It is committed; reading it back did not succeed in time."),
    "position_missing": (errors.PositionUnusable, "Where a group would start that has no position is for the plan to say."),
    "position_beyond_end": (errors.PositionUnusable, "There is no record before such a position that could have been read."),
    "below_log_start": (errors.PositionsExpired, "Retention was faster than the group."),
    "not_movable": (errors.NotMovable, "What was never mirrored has no counterpart on the other side."),
    "mirror_not_started": (errors.NothingMirrored, "Positions are translated by what the mirror wrote, and it has committed nothing yet."),
    "violation": (errors.Violation, "Reading both topics showed a difference that nothing explains."),
}
"""Fault name to our error and why the engine stopped. An unknown name is an EngineFailed."""

PASSING: frozenset[str] = frozenset({"engine_failed", "unreachable"})
"""Faults after which starting the worker again is right: they say nothing about the data."""


def error_of(fault: Fault, **facts: object) -> errors.CutoverError:
    """The fault as an error of ours, with its fields and the facts."""
    kind, why = FAULTS.get(fault.name, FAULTS["engine_failed"])
    error = kind(fault.message, why=why)
    error.fields = {**fault.fields, **facts, "fault": fault.name}
    return error
