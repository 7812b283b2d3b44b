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


class UnknownPartitioner(PlanWrong):
    """The named partitioner is not a formula over the key that cutover knows."""

    id = "CUT-PLN-001"
    advice = "Name one of the known partitioners; docs/partitioners.md says which client uses which."


class UnknownNullKeyPolicy(PlanWrong):
    """The named policy for records without a key is not known."""

    id = "CUT-PLN-002"
    advice = "Use keep_partition or spread."


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


class EmbeddedMissing(Refused):
    """What the embedded Kafka needs is not installed: the extra, a Java, or a POSIX system."""

    id = "CUT-KFK-001"
    advice = "Run: pip install 'cutover[embedded]'"


class JarTampered(Refused):
    """A jar is not the one that the lock names."""

    id = "CUT-KFK-002"
    advice = "Remove the file and run the command again; if it stays wrong, ask who changes your downloads."


class JarUnreachable(Unreachable):
    """A jar could not be downloaded."""

    id = "CUT-KFK-003"
    advice = "Check the network (or the repositories in the jgo config file), then run the command again; what has arrived is kept."


class BrokerNotStarted(Unreachable):
    """A broker process ended or did not answer in time; its log says why."""

    id = "CUT-KFK-004"
    advice = "Read the log of the broker, then run the command again."


class KafkaInUse(Refused):
    """A port or a data directory belongs to another Kafka."""

    id = "CUT-KFK-005"
    advice = "Run: cutover kafka status"


class InvalidConnection(PlanWrong):
    """A connection property is missing, unknown or malformed."""

    id = "CUT-CON-001"


class ForbiddenProperty(PlanWrong):
    """A connection property would load code, run a command or switch verification off."""

    id = "CUT-CON-002"
    advice = "Remove the property; TLS is always verified and no code is loaded from a configuration."


class LiteralSecret(PlanWrong):
    """A secret stands in the configuration itself."""

    id = "CUT-CON-003"
    advice = "Write env:NAME (an environment variable) or file:/path (a file with nothing else in it) instead of the secret."


class UnsupportedKeyStore(PlanWrong):
    """A key or trust store is in a Java format that only Java reads."""

    id = "CUT-CON-004"
    advice = "Convert it: keytool -exportcert -rfc for a trust store, openssl pkcs12 -nodes for a key store; then name the PEM file."


class SecretUnavailable(Refused):
    """The place that a secret reference names is empty or cannot be read."""

    id = "CUT-CON-005"
    advice = "Set the variable or put the file where the reference says, then run the command again."


class UnknownTopic(PlanWrong):
    """The cluster has no topic, or no partition, of this name."""

    id = "CUT-PLN-101"
    advice = "Check the name and the cluster; a topic that this principal may not describe looks the same."


class NotAuthenticated(Refused):
    """The cluster does not accept these credentials or this certificate."""

    id = "CUT-REF-101"
    advice = "Check the mechanism, the user name and what the secret reference holds."


class NotAuthorized(Refused):
    """The principal may not do this to this resource."""

    id = "CUT-REF-102"
    advice = "Grant the operation on the resource to this principal, then run the command again."


class TopicExists(Refused):
    """A topic of this name is there already."""

    id = "CUT-REF-103"
    advice = "Choose another name, or look at what the topic holds before anything else."


class TopicReplaced(Refused):
    """The name now belongs to another topic: it was deleted and made again."""

    id = "CUT-REF-104"
    advice = "Find out who replaced the topic; nothing is done to a topic that only has the same name."


class ConfigDrifted(Refused):
    """A topic's config is neither what it was nor what it is to be."""

    id = "CUT-REF-105"
    advice = "Find out who changed it; then plan from what is there now."


class RejectedByBroker(Refused):
    """The broker understood the request and said no."""

    id = "CUT-REF-107"
    advice = "Correct what the broker names, then run the command again."


class AclsUnavailable(Refused):
    """The cluster has no authorizer: ACLs can be neither read nor written."""

    id = "CUT-REF-108"
    advice = "Use another way to stop a writer; a seal needs an authorizer."


class ProducerFenced(Refused):
    """A newer holder of the same transactional id has taken over."""

    id = "CUT-REF-109"
    advice = "Find out who took over; two must not write under one transactional id."


class ReadTimedOut(Unreachable):
    """The cluster did not answer a question within its deadline."""

    id = "CUT-NET-001"


class NoBroker(Unreachable):
    """No broker could be reached at all."""

    id = "CUT-NET-002"


class NotReady(Unreachable):
    """The cluster answers that it cannot answer yet: leaders or coordinators are moving."""

    id = "CUT-NET-003"
    advice = "Wait until the cluster has settled, then run the command again."


class RangeUnreadable(Unreachable):
    """The end of a range cannot be read yet, because a transaction is open below it."""

    id = "CUT-NET-004"
    advice = "Find the open transaction (its producer id is named by describing producers) and let it end."


class WriteUnknown(Ambiguous):
    """A change was asked for and no answer came within the deadline."""

    id = "CUT-AMB-001"


class RangeExpired(Decision):
    """Records of a range were removed by retention before they were read."""

    id = "CUT-DEC-101"
    advice = "Lengthen the topic's retention, then decide whether what expired matters."


class EngineMissing(Refused):
    """There is no engine binary that can be run here."""

    id = "CUT-ENG-001"
    advice = (
        "Install a wheel for this platform, or in a checkout run: make cutover/engine/bin/cutover-engine"
        " (or point CUTOVER_ENGINE at a binary)."
    )


class EngineDied(Unreachable):
    """An engine process ended without being asked to; what it had not committed is copied again, exactly once."""

    id = "CUT-ENG-002"
    traffic = "Producers and consumers go on as before; this process moves nothing more."
    advice = "Read the last lines above, then run the command again: it goes on where the last commit stands."


class EngineHung(Unreachable):
    """An engine process is there and says nothing, or did not answer a command in time."""

    id = "CUT-ENG-003"
    traffic = "Producers and consumers go on as before; copying may stand still."
    advice = "Check the load of this host; run the command again: a successor fences the silent process before it writes."


class EngineBabbling(Unreachable):
    """An engine process sent something that is not an event of the contract."""

    id = "CUT-ENG-004"
    traffic = "Producers and consumers go on as before; the process was stopped and copies nothing more."
    advice = "Check that the engine belongs to this cutover: run cutover-engine version; then run the command again."


class EngineFailed(CutoverError):
    """An engine process met a fault of its own, one without a better name."""

    id = "CUT-ENG-005"
    traffic = "Producers and consumers go on as before; copying has stopped at the last commit."
    advice = "Run the command again; it goes on where the last commit stands. If it fails in the same way, report it with its message."


class EngineRefusedInput(PlanWrong):
    """An engine does not accept its configuration or a command."""

    id = "CUT-ENG-006"


class EpochEnded(Refused):
    """The epoch of this mirror is over: another direction is in force, so nothing may be copied in this one."""

    id = "CUT-ENG-101"
    traffic = "Traffic is as the run has it: this process wrote nothing past the end of its epoch."
    advice = "Read which epoch and direction are in force (cutover status), and start the mirror of that one."


class LaneContested(Refused):
    """Another process holds the transactional id of a lane again and again."""

    id = "CUT-ENG-102"
    traffic = "Producers and consumers go on as before; every record is still written once, but copying hardly moves."
    advice = "Find the second holder (same run name, other settings or another cluster of workers) and stop one of the two."


class TopicRecreated(Decision):
    """A topic of the pair was deleted and made again under the same name."""

    id = "CUT-DEC-001"
    advice = "Find out who replaced the topic and what it lost. To copy into the new one, start a new run under another --run name."


class RetentionOvertook(Decision):
    """The origin removed records before they were copied."""

    id = "CUT-DEC-002"
    advice = (
        "Lengthen the origin's retention.ms and retention.bytes now; then decide whether the records named above may be missing"
        " on the follower."
    )


class FollowerHole(Decision):
    """The follower lacks a record that the committed positions say it has."""

    id = "CUT-DEC-003"
    advice = (
        "Move nobody to the follower. Find out what removed or failed to write the records (retention, an unclean leader election);"
        " then run cutover audit."
    )


class ForeignRecords(Decision):
    """The follower holds records that no lane of this run wrote."""

    id = "CUT-DEC-004"
    advice = "Name an empty topic as the follower, or find the writer and stop it; nothing of it is overwritten."


class PartitionsChanged(Decision):
    """A topic of the pair has another number of partitions than when the run began."""

    id = "CUT-DEC-005"
    advice = "Find out who added partitions. A key may now be in two of them: start a new run into a new follower."


class RecordTooLarge(Decision):
    """A record of the origin does not fit into the follower."""

    id = "CUT-DEC-006"
    advice = "Raise the follower's max.message.bytes to at least the origin's plus 1 KiB, then run the command again."


class RuntimeDirectoryUnusable(Refused):
    """The directory for the sockets of engine processes cannot be made, or others may write into it."""

    id = "CUT-ENG-007"
    advice = "Point CUTOVER_RUNTIME_DIR at a directory of yours with mode 0700 and a path below 60 characters."


class SameTopic(PlanWrong):
    """Origin and follower are one topic."""

    id = "CUT-MIR-001"
    advice = "Name another topic with --to."


class FollowerSmaller(Refused):
    """The follower has fewer partitions than the origin."""

    id = "CUT-MIR-002"
    advice = "Name a follower with at least as many partitions, or say --allow-shrink: order per key holds, parallelism does not."


class FollowerRecordLimit(Refused):
    """The follower takes smaller records than the origin may hold, once provenance is added."""

    id = "CUT-MIR-003"


class NoWorkers(Refused):
    """No worker of the run is on this host."""

    id = "CUT-MIR-004"
    advice = "Name the run as it was started (cutover mirror --run), on the host and as the user that started it."


class LanesDiffer(Refused):
    """The run was begun with another number of lanes."""

    id = "CUT-MIR-005"


class PlacementDiffers(Refused):
    """The run was begun with another partitioner, or another policy for null keys."""

    id = "CUT-MIR-008"
    advice = "Say the --partitioner and --null-keys that the run was begun with, or start another run into another follower."


class WorkersKeepDying(Unreachable):
    """A worker died again each time it was started anew."""

    id = "CUT-MIR-006"
    traffic = "Producers and consumers go on as before; copying has stopped at the last commit."


class TopicGone(Decision):
    """A topic of the pair is not there any more."""

    id = "CUT-DEC-007"
    advice = "Find out who removed the topic. Nothing is created in its place."


class OriginTruncated(Decision):
    """The origin ends before a record that was copied already: its log lost records."""

    id = "CUT-DEC-008"
    advice = "Look for an unclean leader election on the origin; the follower now holds records that the origin lacks."


class ForeignPositions(Decision):
    """The run's group holds a position that no lane of this run committed."""

    id = "CUT-DEC-009"
    advice = "Start another run under another --run name, or find out who committed into the group and delete it."


class RecordRefused(Decision):
    """The follower refused a record for what it holds."""

    id = "CUT-DEC-010"
    advice = "Make the follower's configs accept what the origin holds (a compacted topic takes no null keys), then run the command again."


class WallPassed(Violation):
    """A record at or past the wall was copied."""

    id = "CUT-AUD-001"


class FollowerDisorder(Violation):
    """What a lane wrote on the follower is not in the order of the origin."""

    id = "CUT-AUD-006"


class PositionsLost(Decision):
    """The follower holds records of the run, and the run's positions are gone."""

    id = "CUT-DEC-012"
    advice = "Start it with --start earliest: what is on the follower is left out. If that is refused, begin anew into an empty follower."


class ControlUnreadable(Decision):
    """The control topic is missing or not what it must be, so nobody can say which epoch is in force."""

    id = "CUT-DEC-011"
    advice = "Find out who removed or changed the control topic; never guess a side."


class HangingTransaction(Unreachable):
    """A transaction stays open, so that an end or a position cannot be known."""

    id = "CUT-NET-005"
    advice = "Find it with kafka-transactions.sh find-hanging, let its producer end it or abort it; then run the command again."


class RehearsalStuck(Unreachable):
    """A step of the demo or a rehearsal was not observed in time."""

    id = "CUT-REH-001"
    traffic = "Only the rehearsal's own cluster is concerned, and it is gone."
    advice = "Run it again; on a very busy machine its steps may not be seen in time."


class AuditViolation(Violation):
    """The audit found a difference that nothing explains."""

    id = "CUT-AUD-002"


class CrossCheckDisagrees(Violation):
    """The engine and the second implementation of the audit judge the same records differently."""

    id = "CUT-AUD-003"
    advice = "Trust neither verdict: keep both topics and report the places named above; one of the two readers is wrong."


class NotProved(Refused):
    """Nothing differs in what could be read, and not everything could be read."""

    id = "CUT-AUD-004"
    exit_code = 3
    advice = "Lengthen the retention of both topics; then decide whether what was not read matters (--start audits from an offset on)."


class NothingMirrored(Refused):
    """No mirror of this run and epoch has committed anything, so there is nothing to audit."""

    id = "CUT-AUD-005"
    advice = "Check --run and --epoch, or start the mirror first; --start and --until audit without a mirror's positions."


class RunNameWrong(PlanWrong):
    """The run's name cannot be part of Kafka's names."""

    id = "CUT-MIR-007"
    advice = "Use at most 120 letters, digits, dots, underscores and hyphens."


class PositionUnusable(PlanWrong):
    """A position to translate is missing or lies outside the log."""

    id = "CUT-POS-001"
    advice = "Check the group's name and which topic it reads; give a position for every partition, or say --missing earliest or latest."


class NotMovable(Refused):
    """A position lies before the mirror's start: the records between were never mirrored."""

    id = "CUT-POS-002"
    advice = "Let the group read on until it has passed the mirror's start; then ask again."


class PositionsExpired(Decision):
    """The origin has removed records that the group had not read: they are lost to it already."""

    id = "CUT-POS-003"
    advice = "Decide whether the group may go on at the log start; say how many records it loses with that."


class TransactionExpired(Refused):
    """A transaction of our own was open for too long and was aborted; nothing of it was written."""

    id = "CUT-ENG-008"
    advice = "Run the command again."


class TranslationsDiffer(Violation):
    """The engine and the second derivation translate the same positions differently."""

    id = "CUT-POS-004"
    advice = "Let no group go on either vector: keep both topics and report the partitions named above; one of the two searches is wrong."


class PositionsUnreadable(PlanWrong):
    """The positions on the command line, or in the file it names, cannot be read."""

    id = "CUT-POS-005"
    advice = "Write 0=1200,1=980 or a file of topic,partition,offset lines, as kafka-consumer-groups --export writes it."


class IllegalMove(Refused):
    """A run cannot go from where it stands to there."""

    id = "CUT-RUN-001"
    advice = "Run cutover status to see where it stands; from completed there is no way back but a new cutover."


class FlipUndone(Refused):
    """An attempt to switch the writes was undone: producers go on where they were."""

    id = "CUT-FLP-001"
    exit_code = 6
    traffic = "Producers write where they wrote before; the pause is over and nothing is lost."
    advice = "Read why, remove the cause, then run the same command again."


class AttemptsSpent(Decision):
    """The writes could not be switched in as many attempts as the plan allows."""

    id = "CUT-FLP-002"
    traffic = "Producers write where they wrote before; every attempt was undone."
    advice = "Read what each attempt met (cutover journal show), remove it, then: cutover resume RUN, which counts them anew."


class StragglerFound(Violation):
    """A producer or a group is on the side that it should have left."""

    id = "CUT-STR-001"
    traffic = "Producers go on as before; the records named are on one topic only until they are carried over."
    advice = "Find and stop the writer; then carry its records over: cutover forward RUN; then: cutover resume RUN."


class GroupNotMoved(Refused):
    """A group could not be moved and reads on where it read before."""

    id = "CUT-MOV-001"
    traffic = "The group reads where it read before; its positions there are untouched."
    advice = "Read why, remove the cause, then: cutover resume RUN (nobody drives: cutover run PLAN)."


class MoveUnclear(Decision):
    """A group stands between the two topics and nobody can tell by looking how to go on."""

    id = "CUT-MOV-002"
    traffic = "The other groups and the producers go on as before."
    advice = (
        "Look at the group's members and positions as named, start or stop its members, then: cutover resume RUN"
        " (nobody drives: cutover run PLAN)."
    )


class TooManyDuplicates(Refused):
    """Moving a group now would make it read more records again than its plan allows."""

    id = "CUT-MOV-003"
    advice = "Wait until the group is nearer to the mirror, raise max_duplicates in a new plan, or move it at a cut."


class PreflightRed(Refused):
    """The preflight found what would stop the run."""

    id = "CUT-PRE-000"
    exit_code = 4
    advice = "Remove each red finding, acknowledge each amber one by its id in the plan, then run the command again."


class ApprovalMissing(Refused):
    """A gate of the plan has not the approvals it asks for."""

    id = "CUT-APR-001"
    exit_code = 3
    advice = "Have it approved: cutover approve PLAN --gate GATE --name NAME --reason WORDS."


class DeadlinePassed(Decision):
    """A stage took longer than the plan allows."""

    id = "CUT-RUN-002"
    advice = "Read what it waits for; then: cutover resume RUN (nobody drives: cutover run PLAN), or roll back."


class NotReversible(Refused):
    """The run cannot be rolled back to there."""

    id = "CUT-RUN-003"
    advice = "Name one of the stages that cutover status lists, or begin a new cutover from the target to the source."


class GroupsOnFollower(Decision):
    """The run cannot be left as it is: groups read the topic that only the mirror keeps equal."""

    id = "CUT-RUN-004"
    traffic = "Producers and consumers go on as before; the mirror goes on."
    advice = "Move the groups back first (cutover rollback), or hand the mirror over to somebody who keeps it running (cutover mirror)."


class TopicTaken(Refused):
    """The target is there and is not of this run."""

    id = "CUT-RUN-005"
    advice = "Name another target, or remove the topic yourself if nobody needs it."


class PatternCaught(Refused):
    """A group subscribes by a pattern and took the target as soon as it was there."""

    id = "CUT-RUN-006"
    advice = "Have the group named above subscribe by name; the empty target was removed again. Then run the command again."


class ControlTopicMissing(Refused):
    """There is no control topic, or it is not what it must be."""

    id = "CUT-CTL-001"
    advice = "Create it before anybody is configured with it: cutover control create."


class PlanUnreadable(PlanWrong):
    """The file of a plan cannot be read as text."""

    id = "CUT-PLN-003"
    advice = "Check the name of the file and that it is UTF-8 text, then run the command again."


class PlanInvalid(PlanWrong):
    """The file of a plan is not a plan; everything that is wrong is named with its line."""

    id = "CUT-PLN-004"
    advice = "Correct the lines above (docs/plan.md explains each field), then run: cutover plan lint FILE"


class PlanFileExists(Refused):
    """A file of this name is there already, and is not overwritten."""

    id = "CUT-PLN-006"
    advice = "Name another file with -o, or remove that one yourself."


class PlanChanged(Refused):
    """The run was begun with another plan."""

    id = "CUT-JRN-001"
    advice = "Take the plan that the run was begun with (cutover journal show), or end the run and begin another under another name."


class StepsChanged(Refused):
    """The run was begun by a version of cutover with other steps."""

    id = "CUT-JRN-002"
    advice = "Finish the run with the version that began it, or roll it back with that version; then upgrade."


class RunEnded(Refused):
    """The run is over, and its journal is closed."""

    id = "CUT-JRN-003"
    advice = "Choose another name for a new run; cutover journal runs lists those that are taken."


class JournalTampered(Violation):
    """The journal is not what was written into it."""

    id = "CUT-JRN-004"
    traffic = "Traffic is as it was; nothing may rest on this journal."
    advice = "Stop the driver, keep the database as it is, find who can write to it, and judge the topics by reading them."


class JournalTooNew(Refused):
    """The journal was last opened by a newer version of cutover."""

    id = "CUT-JRN-005"
    advice = "Upgrade this cutover, or name another journal with --journal."


class JournalUnreachable(Unreachable):
    """The journal's database does not answer or cannot be written; nothing was recorded."""

    id = "CUT-JRN-006"
    traffic = "Traffic is as it was: nothing is begun that cannot be recorded."
    advice = "See that the database answers, has space and may be written; then run the same command again."


class LeaseHeld(LeaseLost):
    """Another driver holds the lease."""

    id = "CUT-LEA-001"
    advice = "Let it go on, or end it and wait until its lease is over; then run the same command again."


class LeaseExpired(LeaseLost):
    """The lease is no longer ours: it ran out, was taken over, or a clock stepped."""

    id = "CUT-LEA-002"
    traffic = "Traffic is as it was; from here on this process changes nothing."
    advice = "Run cutover status to see who drives; if nobody does, run the same command again."


class UnknownRun(PlanWrong):
    """The journal knows no run of this name."""

    id = "CUT-JRN-007"
    advice = "cutover journal runs lists the runs; --journal (or CUTOVER_JOURNAL) says which journal is meant."


class JournalUrlWrong(PlanWrong):
    """The journal's URL cannot be used."""

    id = "CUT-JRN-008"
    advice = "Write sqlite:////var/lib/cutover/journal.db or postgresql+psycopg://USER@HOST/DATABASE."


class JournalUnclear(Ambiguous):
    """The journal's database did not say whether it kept the last entry."""

    id = "CUT-JRN-009"
    traffic = "Traffic goes on; nothing was begun after the entry in question."
    advice = "See that the database answers and has space, then run the same command again: the journal is read anew first."


class NothingPublished(Refused):
    """No driver has published how the run stands."""

    id = "CUT-RUN-007"
    advice = "Start it: cutover run PLAN; or read what happened: cutover journal show RUN."


class HookFailed(Decision):
    """A hook said that it did not do what it was asked for."""

    id = "CUT-HOK-001"
    traffic = "Nothing is assumed of what the hook stops or starts; everybody else goes on as before."
    advice = (
        "Read what the hook said, remove the cause, then: cutover resume RUN (nobody drives: cutover run PLAN);"
        " the hook is then run once more."
    )


class HookUnknown(Ambiguous):
    """Nobody knows whether a hook did what it was asked for, and it is not run again."""

    id = "CUT-HOK-002"
    traffic = "What the hook stops or starts may or may not run; everybody else goes on as before."
    advice = (
        "Look whether it runs, make it what it should be, then say so: cutover confirm RUN NAME stopped (or started);"
        " then: cutover resume RUN (nobody drives: cutover run PLAN)."
    )


class HookUnusable(PlanWrong):
    """A hook cannot be used as it is written."""

    id = "CUT-HOK-003"
    advice = "Give a command for the verb as a list of words, or a url that begins with https://."


class TargetReadEarly(Decision):
    """Members of a group read the other side before its positions there were released."""

    id = "CUT-MOV-004"
    traffic = "Those members may skip or repeat records on the other side; everybody else goes on as before."
    advice = (
        "Stop the members named above on that side, remove the group's positions there, then: cutover resume RUN"
        " (nobody drives: cutover run PLAN)."
    )


class GateNotMet(Refused):
    """The gate of a group did not open in time."""

    id = "CUT-MOV-005"
    exit_code = 3
    traffic = "The group reads where it read before; nothing was changed."
    advice = "Read what it waits for; keep the members from starting and ask again."


class WindowClosed(Refused):
    """The plan's window is closed, so nothing that changes traffic begins."""

    id = "CUT-APR-002"
    exit_code = 3
    advice = "A run that waits goes on by itself when it opens, one that has ended with cutover run PLAN; going back is always allowed."


class ClientError(CutoverError):
    """A call of the client library was not carried out."""

    id = "CUT-CLI-000"
    traffic = "Nothing of this call was written or handed out."


class ClientSettingsWrong(ClientError):
    """A `cutover.` setting of a client is missing, unknown or not of its kind."""

    id = "CUT-CLI-001"
    exit_code = 2
    advice = "Correct the settings; docs/client.md lists them."


class ProducersHeld(ClientError):
    """Producers are held for a switch, and it lasts longer than this caller waits."""

    id = "CUT-CLI-002"
    traffic = "The record was not taken; the instance goes on by itself when the switch is over."
    advice = "Make the same call again."


class ControlUnavailable(ClientError):
    """The control log cannot be followed, so nobody can say which topic is meant."""

    id = "CUT-CLI-003"
    traffic = "Nothing of this call was written or handed out; a side is never guessed."
    advice = (
        "See that the control topic is there, is the one it was, and may be read and written by this principal; then make the call again."
    )


class InstanceReplaced(ClientError):
    """Another process has joined under the name of this one."""

    id = "CUT-CLI-004"
    traffic = "This instance writes and reads nothing more; the other one goes on."
    advice = "Give every process a cutover.instance of its own, or leave the setting out; then start this one again."


class NotSupportedHere(ClientError):
    """The pair is in a mode, or the call has an argument, that this client cannot follow."""

    id = "CUT-CLI-005"
    advice = "docs/client.md says what the library can follow."


class PositionMissing(ClientError):
    """A partition of the topic that the group was moved to has no usable position."""

    id = "CUT-CLI-006"
    traffic = "This consumer hands nothing out: a reset policy would lose or repeat records."
    advice = "Look at the group's positions (kafka-consumer-groups --describe), put the missing one right, then call poll again."


class PortTaken(Refused):
    """The address to listen on cannot be had."""

    id = "CUT-MOV-006"
    advice = "Name another one with --port, or end who listens there."
