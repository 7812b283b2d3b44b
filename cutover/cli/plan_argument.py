"""How a command is told which run is meant: by its plan's file, or, where the plan is journalled already, by its name."""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from cutover.connection import Connection
from cutover.plan import Plan, load


def plan_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add PLAN, a file; the command gets `plan`, loaded. Wrong plans are refused before anything else is looked at."""

    @click.argument("plan_file", metavar="PLAN", type=click.Path(path_type=Path, dir_okay=False, exists=True))
    @wraps(command)
    def planned(*args: object, plan_file: Path, **kwargs: object) -> object:
        return command(*args, plan=load(plan_file, os.environ), plan_file=plan_file, **kwargs)

    return planned


def run_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add RUN: a run's name, or its plan's file; the command gets `run`, the name."""

    @click.argument("run_or_plan", metavar="RUN")
    @wraps(command)
    def named(*args: object, run_or_plan: str, **kwargs: object) -> object:
        path = Path(run_or_plan)
        name = load(path, os.environ).cutover if path.suffix in {".yaml", ".yml"} and path.is_file() else run_or_plan
        return command(*args, run=name, **kwargs)

    return named


def connection_of(plan: Plan) -> Connection:
    """The connection that the plan names."""
    return Connection.load(bootstrap=plan.cluster.bootstrap, profile=plan.cluster.profile)


def operator() -> str:
    """Who sits here: the name of the login and the host."""
    return f"{os.environ.get('USER') or os.environ.get('LOGNAME') or os.getuid()}@{os.uname().nodename}"
