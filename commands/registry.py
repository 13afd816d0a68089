"""Every command: where it lives, and what its line in the help says. Imports none of them."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One command."""

    section: str
    module: str
    summary: str


PORCELAIN = "Porcelain: the short way"
PLUMBING = "Plumbing: one step at a time"
INSPECT = "Looking, changing nothing"
MANAGE = "Looking after the records"

COMMANDS: dict[str, Entry] = {
    "deploy": Entry(
        PORCELAIN, "commands.porcelain.deploy", "Bring an environment to running, from where it is."
    ),
    "create": Entry(
        PLUMBING, "commands.plumbing.create", "Write an environment's file and record it."
    ),
    "provision": Entry(
        PLUMBING, "commands.plumbing.provision", "Make the hosts, or see that they are there."
    ),
    "configure": Entry(
        PLUMBING, "commands.plumbing.configure", "Prepare the hosts for the application."
    ),
    "release": Entry(
        PLUMBING, "commands.plumbing.release", "Put a new release of the application in place."
    ),
    "run": Entry(
        PLUMBING, "commands.plumbing.run", "Start the services and wait until they are healthy."
    ),
    "stop": Entry(PLUMBING, "commands.plumbing.stop", "Stop the services."),
    "clear": Entry(PLUMBING, "commands.plumbing.clear", "Remove the releases, keep the data."),
    "destroy": Entry(PLUMBING, "commands.plumbing.destroy", "Remove everything but the history."),
    "list": Entry(INSPECT, "commands.inspect.list", "List the environments."),
    "show": Entry(INSPECT, "commands.inspect.show", "Show an environment as it is recorded."),
    "status": Entry(
        INSPECT, "commands.inspect.status", "Show what is recorded beside what is running."
    ),
    "history": Entry(INSPECT, "commands.inspect.history", "Show what was done, and how it went."),
    "logs": Entry(INSPECT, "commands.inspect.logs", "Show what the services wrote."),
    "check": Entry(
        INSPECT, "commands.inspect.check", "Tell each difference between the record and the world."
    ),
    "validate": Entry(
        INSPECT, "commands.inspect.validate", "Prove what can be proved without touching anything."
    ),
    "repair": Entry(MANAGE, "commands.manage.repair", "Lower the record to what is really there."),
    "unlock": Entry(
        MANAGE, "commands.manage.unlock", "Show who holds an environment, and end it if asked."
    ),
    "backup": Entry(MANAGE, "commands.manage.backup", "Copy the store to a file."),
    "restore": Entry(MANAGE, "commands.manage.restore", "Put a copy of the store back."),
    "purge": Entry(
        MANAGE, "commands.manage.purge", "Remove the records of a destroyed environment."
    ),
}
