"""The plan of one cutover: its fields and rules, reading it from YAML with every error at its line, its digest, a first draft."""

from cutover.plan.lint import lint
from cutover.plan.model import STRATEGIES, Plan
from cutover.plan.parts import Group, Hook, HookSwitch, Producer, Window
from cutover.plan.reading import Finding, Loaded, load, read, understand
from cutover.plan.resolved import Change, canonical, difference, digest, resolved, written
from cutover.plan.schema import schema

__all__ = [
    "STRATEGIES",
    "Change",
    "Finding",
    "Group",
    "Hook",
    "HookSwitch",
    "Loaded",
    "Plan",
    "Producer",
    "Window",
    "canonical",
    "difference",
    "digest",
    "lint",
    "load",
    "read",
    "resolved",
    "schema",
    "understand",
    "written",
]
