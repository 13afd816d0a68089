"""Rules over several values, or over a value and the files: duplicates, and missing paths."""

from __future__ import annotations

import ipaddress
import os.path
import posixpath
import re
from dataclasses import dataclass
from itertools import combinations, islice
from typing import TYPE_CHECKING

from deployer.preflight.values.problem import Problem
from deployer.preflight.values.source import Source, Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.preflight.values.files import Files

Found = tuple[Value, Problem]

_COMPOSE = re.compile(r"(?:.*[-_.])?compose(?:[-_.].*)?\.ya?ml")
_SHORT_PORT = re.compile(
    r"(?:(?P<address>\[[0-9A-Fa-f:.]+\]|[0-9.]+):)?(?P<first>\d+)(?:-(?P<last>\d+))?"
    r":\d+(?:-\d+)?(?:/(?P<protocol>tcp|udp|sctp))?"
)
_MAX_PUBLISHED = 500  # each is compared with each
_DOMAIN_LISTS = frozenset({"domains", "domain_names", "server_names", "subject_alternative_names"})
# these are read before anything runs; what is included may never be asked for
_IMPORTS = frozenset({"import_tasks", "import_playbook"})
_TF_FILE = re.compile(r'\b(?:file|templatefile|filebase64)\("\$\{path\.module\}/([^"$%]+)"')
_TF_GUARD = re.compile(r"\b(?:try|can|fileexists)\(")


@dataclass(frozen=True)
class _Published:
    value: Value
    service: str
    address: str
    first: int
    last: int
    protocol: str

    def collides(self, other: _Published) -> bool:
        """Whether both can't listen at the same time."""
        overlap = self.first <= other.last and other.first <= self.last
        if not overlap or self.protocol != other.protocol:
            return False
        return self.address == other.address or "" in (self.address, other.address)


def duplicate_ports(source: Source) -> Iterator[Found]:
    """Two services of a compose file that publish one port at one address."""
    if source.kind != "yaml" or not _COMPOSE.fullmatch(source.path.name):
        return
    sometimes = {
        v.keys[1]
        for v in source.values
        if v.keys[0:1] == ("services",) and len(v.keys) > 2 and v.keys[2] == "profiles"
    }
    published = [
        p for p in islice(_published(source), _MAX_PUBLISHED) if p.service not in sometimes
    ]
    told = set()
    for one, other in combinations(published, 2):
        if one.collides(other) and other.value not in told:
            told.add(other.value)
            message = (
                f"{one.service} publishes port {other.first} already, see line {one.value.line}"
            )
            yield (
                other.value,
                Problem("duplicate-port", message, "publish another one", other.value.text),
            )


def _published(source: Source) -> Iterator[_Published]:
    long: dict[tuple[str | int, ...], dict[str, Value]] = {}
    for value in source.values:
        keys = value.keys
        if len(keys) < 4 or keys[0] != "services" or keys[2] != "ports" or not value.known:
            continue
        if len(keys) == 5:
            long.setdefault(keys[:4], {})[str(keys[4])] = value
            continue
        found = _SHORT_PORT.fullmatch(value.text)
        if found:
            first = int(found["first"][:6])
            last = int((found["last"] or found["first"])[:6])
            protocol = found["protocol"] or "tcp"
            address = _wildcard((found["address"] or "").strip("[]"))
            yield _Published(value, str(keys[1]), address, first, last, protocol)
    for keys, parts in long.items():
        text = parts["published"].text if "published" in parts else ""
        if text.isdigit():
            address = _wildcard(parts["host_ip"].text if "host_ip" in parts else "")
            protocol = parts["protocol"].text if "protocol" in parts else "tcp"
            number = int(text[:6])
            yield _Published(parts["published"], str(keys[1]), address, number, number, protocol)


def _wildcard(address: str) -> str:
    """An address, empty where it is all of them."""
    try:
        return "" if ipaddress.ip_address(address).is_unspecified else address
    except ValueError:
        return address


def published_ports(source: Source) -> Iterator[Found]:
    """A published port that no machine has."""
    if source.kind != "yaml" or not _COMPOSE.fullmatch(source.path.name):
        return
    for one in _published(source):
        if one.last > 65535:
            message = f"{one.value.text!r} publishes no port"
            yield one.value, Problem("port", message, "a port is 1 to 65535", one.value.text)


def duplicate_domains(source: Source) -> Iterator[Found]:
    """A domain that stands twice in one list of domains."""
    seen: dict[tuple[object, ...], Value] = {}
    for value in source.values:
        if value.key not in _DOMAIN_LISTS or not value.known or not isinstance(value.keys[-1], int):
            continue
        name = (*value.keys[:-1], value.text.lower().removesuffix("."))
        if name in seen:
            message = f"{value.key}: {value.text!r} is there already, on line {seen[name].line}"
            yield value, Problem("duplicate-domain", message, "remove one", value.text)
        seen.setdefault(name, value)


def missing_paths(source: Source, files: Files) -> Iterator[Found]:
    """A file of the user's that another one names, and that is nowhere."""
    if source.kind == "yaml":
        yield from _missing_in_ansible(source, files)
    elif source.kind == "hcl":
        yield from _missing_in_terraform(source)


def _missing_in_ansible(source: Source, files: Files) -> Iterator[Found]:
    sometimes = {v.keys[: v.keys.index("when")] for v in source.values if "when" in v.keys}
    for value in source.values:
        if not value.known or not value.text or value.text[0] in "/~$":
            continue
        module, key = value.parent.rpartition(".")[2], value.key.rpartition(".")[2]
        if (module, key) != ("template", "src") and key not in _IMPORTS:
            continue
        conditional = (value.keys[:length] in sometimes for length in range(1, len(value.keys)))
        if key == "src" and any(conditional):
            continue
        path = value.text.split(" ")[0]
        clean = posixpath.normpath(path)
        while clean.startswith("../"):
            clean = clean[3:]
        # which of Ansible's search paths counts depends on the play: it must be in none
        if "." in posixpath.basename(clean) and not files.has(clean):
            message = f"there is no file {path!r} anywhere here"
            yield value, Problem("missing-path", message, "name a file that is there", value.text)


def _missing_in_terraform(source: Source) -> Iterator[Found]:
    folder = source.path.parent
    for value in source.values:
        if value.key == "source" and len(value.keys) == 3 and value.keys[0] == "module":
            local = value.known and value.text.startswith(("./", "../"))
            if local and not os.path.isdir(folder / value.text):  # noqa: PTH112 - as below
                message = f"there is no folder {value.text!r}"
                yield value, Problem("missing-path", message, "name one that is there", value.text)
    for number, line in enumerate(source.lines, 1):
        if "path.module" not in line or _TF_GUARD.search(line) or line.lstrip()[:1] in "#/":
            continue
        for found in _TF_FILE.finditer(line):
            if not os.path.exists(folder / found[1]):  # noqa: PTH110 - no name is too long for it
                message = f"there is no file {found[1]!r} beside the module"
                value = Value((), found[1], number, number)
                yield value, Problem("missing-path", message, "name one that is there", found[1])
