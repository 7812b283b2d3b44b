"""Sinks of Kafka Connect: their positions are the connector's, and are changed only while it is stopped."""

from collections.abc import Iterator

from cutover.plan import Plan
from cutover.preflight.finding import Finding, Severity
from cutover.preflight.survey import Survey

ID = "CUT-PRE-027"
PREFIX = "connect-"


def judge(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """Amber for each sink that is to be moved: nobody but its connector's REST interface starts and stops it."""
    planned = {each.name for each in plan.groups}
    for name in sorted(planned & seen.on_source()):
        if name.startswith(PREFIX):
            yield Finding(
                ID,
                Severity.AMBER,
                f"{name} looks like a sink of Kafka Connect",
                "Its connector names the topic, so it is moved by changing the connector's config, and only while the connector is STOPPED"
                " may its positions be written.",
                "Let its hook stop the connector, change topics, and resume it (PUT /connectors/NAME/stop, /config, /resume);"
                f" or acknowledge {ID}.",
                {"group": name, "connector": name.removeprefix(PREFIX)},
            )
