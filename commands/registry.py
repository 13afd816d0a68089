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
HOSTS = "On the hosts"
MANAGE = "Looking after the records"

COMMANDS: dict[str, Entry] = {
    "deploy": Entry(
        PORCELAIN, "commands.porcelain.deploy", "Bring an environment to running, from where it is."
    ),
    "redeploy": Entry(
        PORCELAIN, "commands.porcelain.redeploy", "Release the application again, start it anew."
    ),
    "upgrade": Entry(
        PORCELAIN, "commands.porcelain.upgrade", "Bring a new version live, or go back by itself."
    ),
    "rollback": Entry(
        PORCELAIN, "commands.porcelain.rollback", "Go back to a release that was healthy."
    ),
    "reset": Entry(PORCELAIN, "commands.porcelain.reset", "Take it back to configured."),
    "restart": Entry(PORCELAIN, "commands.porcelain.restart", "Start services anew."),
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
    "releases": Entry(INSPECT, "commands.inspect.releases", "List the releases."),
    "history": Entry(INSPECT, "commands.inspect.history", "Show what was done, and how it went."),
    "logs": Entry(INSPECT, "commands.inspect.logs", "Show what the services wrote."),
    "check": Entry(
        INSPECT, "commands.inspect.check", "Tell each difference between the record and the world."
    ),
    "plan": Entry(INSPECT, "commands.inspect.plan", "Show what deploy would do."),
    "validate": Entry(
        INSPECT, "commands.inspect.validate", "Prove what can be proved without touching anything."
    ),
    "doctor": Entry(
        INSPECT, "commands.inspect.doctor", "Show what this machine has, and what it lacks."
    ),
    "config": Entry(
        INSPECT, "commands.inspect.config", "Show what all files say together, and where from."
    ),
    "providers": Entry(
        INSPECT, "commands.inspect.providers", "List where environments can run, or why not."
    ),
    "apps": Entry(
        INSPECT, "commands.inspect.apps", "List the apps that come along or lie in apps/."
    ),
    "ssh": Entry(HOSTS, "commands.inspect.ssh", "Open a shell on a host."),
    "exec": Entry(HOSTS, "commands.inspect.exec", "Run a command on the hosts."),
    "repair": Entry(MANAGE, "commands.manage.repair", "Lower the record to what is really there."),
    "unlock": Entry(
        MANAGE, "commands.manage.unlock", "Show who holds an environment, and end it if asked."
    ),
    "schema": Entry(
        MANAGE, "commands.manage.schema", "Print the JSON Schema of a kind of file, for editors."
    ),
    "backup": Entry(MANAGE, "commands.manage.backup", "Copy the store to a file."),
    "restore": Entry(MANAGE, "commands.manage.restore", "Put a copy of the store back."),
    "purge": Entry(
        MANAGE, "commands.manage.purge", "Remove the records of a destroyed environment."
    ),
}
