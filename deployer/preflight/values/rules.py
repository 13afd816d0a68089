"""The table of the rules: what each is called, how grave it is, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Rule:
    """`finds` and `example` are for the documentation."""

    level: Level
    finds: str
    example: str


RULES: dict[str, Rule] = {
    "url": Rule("error", "a URL that names no host, or an impossible one", "http:/wikipedia.org/"),
    "cidr": Rule("error", "a network whose prefix or address can't be", "172.17.0.0/33"),
    "cidr-host": Rule(
        "warning", "an address with a prefix where a network is wanted", "cidr_block: 10.0.0.7/24"
    ),
    "address": Rule("error", "an IPv4 address that can't be", "gateway: 10.0.0.256"),
    "mode": Rule("error", "a file mode with an 8 or a 9 in it", "mode: '0900'"),
    "mode-decimal": Rule(
        "error", "a file mode that YAML reads as a decimal number", "copy: {mode: 644}"
    ),
    "port": Rule("error", "a port above 65535, or below 0", "port: 80800"),
    "duplicate-port": Rule(
        "error", "two compose services that publish one port at one address", '"8080:80" twice'
    ),
    "duplicate-domain": Rule(
        "warning", "a domain that stands twice in one list", "domains: [a.org, a.org]"
    ),
    "cron": Rule("error", "a time of cron that never comes", "schedule: 61 * * * *"),
    "duration": Rule("error", "a time span in a unit that nobody knows", "timeout: 10x"),
    "domain": Rule("error", "a domain name that the DNS can't have", "domain: shop..org"),
    "missing-path": Rule(
        "error", "a template, task file or module of yours that is nowhere", "template: {src: a.j2}"
    ),
    "placeholder": Rule("error", "what somebody meant to fill in", "<CHANGE_ME>"),
    "variable": Rule(
        "warning", "a shell's variable in an environment file, where no shell reads it", "${HOME}"
    ),
    "secret": Rule("error", "a key or token in clear text, known by its shape", "AKIA…"),
    "password": Rule(
        "warning",
        "a value in clear text under a key that says that it is secret",
        "password: hunter2",
    ),
    "syntax": Rule(
        "warning", "a file that can't be read, so that nothing in it was checked", "a: ["
    ),
    "too-large": Rule("warning", "a file of more than 1 MB, or a folder of too many", ""),
    "excuse": Rule("error", "an excuse without a reason, or for no rule that there is", ""),
}
