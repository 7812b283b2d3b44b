"""Runs every case against a client and prints what held: `python -m tests.conformance --command "..."`."""

import argparse
import sys

from cutover.kafka.embedded import EmbeddedKafka
from tests.conformance.cases import CASES, stage


def main() -> int:
    """The number of cases that failed, at most 1 as an exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--command", required=True, help="starts the client under test")
    parser.add_argument("--kafka", help="HOST:PORT; without it an embedded Kafka is started")
    parser.add_argument("--case", help="only the cases whose name has this in it", default="")
    chosen = parser.parse_args()
    if chosen.kafka:
        return run(chosen.command, chosen.kafka, chosen.case)
    with EmbeddedKafka() as kafka:
        return run(chosen.command, kafka.bootstrap_servers, chosen.case)


def run(command: str, bootstrap: str, part: str = "") -> int:
    """Run the cases and print a line for each."""
    failed = 0
    for case in (each for each in CASES if part in each.__name__):
        words = case.__name__.replace("_", " ")
        try:
            with stage(command, bootstrap) as here:
                case(here)
            print(f"holds   {words}", flush=True)
        except AssertionError as error:
            failed += 1
            print(f"FAILED  {words}: {error}", flush=True)
    print(f"{failed} of {len(CASES)} cases failed" if failed else "every case holds")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
