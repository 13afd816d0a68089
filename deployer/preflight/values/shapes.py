"""Rules over one value: is it what its key or its shape says that it is?"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deployer.preflight.values.problem import Problem, unsigned
from deployer.preflight.values.source import UNKNOWN, Source, Value

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORD_URL = re.compile(
    rf"(?<![\w./:+@%-])(?:https?|ftp|wss?):/[^\s\"'`,;|<>()\[\]{{}}\\{UNKNOWN}]+", re.IGNORECASE
)
_WHOLE_URL = re.compile(r"(?:https?|ftps?|wss?|ssh|git|s3)(?::/|//)\S*", re.IGNORECASE)
# what a program fills in later, or a pattern: not the URL itself
_OPEN_URL = re.compile(rf"[{UNKNOWN}{{}}$<>%*|\\^()\s]")
_QUAD = r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}"
_CIDR = re.compile(rf"(?<![\w./:+-])({_QUAD})/(\d{{1,3}})(?![\w./:-])")
_CIDR6 = re.compile(r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}/\d{1,3}")
_ADDRESS_KEY = re.compile(
    r"(?:^|_)(?:ip|ips|ip_?addr|ip_?address|ip_?addresses|address|addresses|gateway|netmask|"
    r"nameservers?|dns_servers?|host_?ip|private_ip|public_ip)$"
)
_NETWORK_KEY = re.compile(r"^(?:cidr_block|cidr_blocks|cidr|subnet|ip_cidr_range)$")
_MODE_KEYS = frozenset(
    {"mode", "directory_mode", "file_mode", "dir_mode", "file_permission", "directory_permission"}
)
_FILE_MODULES = frozenset(
    {
        *("file", "copy", "template", "lineinfile", "blockinfile", "replace", "assemble"),
        *("get_url", "unarchive", "ini_file", "uri", "tempfile", "archive", "slurp", "htpasswd"),
    }
)
# written with the digits of an octal mode, they are another mode as a decimal number
_OCTAL_LOOKS = frozenset(
    {
        *("400", "440", "444", "500", "550", "555", "600", "640", "644", "660"),
        *("664", "666", "700", "710", "711", "740", "744", "750", "751", "755"),
        *("760", "770", "771", "775", "777", "1777", "2755", "2770", "2775", "4755"),
    }
)
_COMMAND_MODE = re.compile(
    r"\bchmod\s+(?:-[A-Za-z]+\s+)*([0-9]+)(?=\s)|\binstall\s[^|;&]{0,200}?-m\s*([0-9]+)(?=\s)"
)
_PORT_KEY = re.compile(r"(?:^|_)port$|[a-z]Port$")
_CRON_KEY = re.compile(r"(?:^|_)(?:cron|cron_expression|cron_schedule|crontab|schedule)$")
_DURATION_KEY = re.compile(
    r"(?:^|_)(?:timeout|interval|ttl|start_period|stop_grace_period|max_age)$"
)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-zµ]+)")
_UNITS = frozenset(
    {
        *("ns", "us", "µs", "ms"),
        *("s", "sec", "secs", "second", "seconds"),
        *("m", "min", "mins", "minute", "minutes"),
        *("h", "hr", "hrs", "hour", "hours"),
        *("d", "day", "days", "w", "week", "weeks"),
        *("mo", "month", "months", "y", "yr", "year", "years"),
    }
)
_DOMAIN_KEY = re.compile(
    r"(?:^|_)(?:domain|domains|domain_name|domain_names|fqdn|server_name|server_names|dns_name|"
    r"subject_alternative_names)$"
)
_DOMAIN = re.compile(r"(?:\*\.)?[A-Za-z0-9._-]*[A-Za-z0-9][A-Za-z0-9._-]*")


def url(value: Value, source: Source) -> Iterator[Problem]:
    """A URL whose host is missing or impossible, by itself or among the words of a command."""
    text = value.text.strip()
    if "/" not in text or ":" not in text:
        return
    words = [text] if _WHOLE_URL.fullmatch(text) else _WORD_URL.findall(text)
    for word in words:
        reason = _url_reason(word)
        if reason:
            scheme, _, rest = word.partition(":")
            shown = f"{scheme}://{rest.lstrip('/')}" if reason == _NO_HOST else ""
            fix = f"write {unsigned(shown)}" if shown else "write scheme://host/path"
            yield Problem("url", f"{unsigned(word)!r} is not a URL: {reason}", fix, word)


_NO_HOST = "it names no host; two slashes go before it"


def _url_reason(word: str) -> str:
    if _OPEN_URL.search(word):
        return ""
    try:
        parts = urlsplit(word)
        host, _ = parts.hostname, parts.port
    except ValueError as problem:
        reason = str(problem)
        return reason[0].lower() + reason[1:]
    if not parts.netloc:
        # only where what follows the one slash can be a host
        first = word.partition(":")[2].lstrip("/").partition("/")[0]
        plausible = re.fullmatch(
            r"(?:[^@]+@)?(?:[\w-]+\.)+[A-Za-z0-9]+(?::\d+)?|localhost(?::\d+)?", first
        )
        return _NO_HOST if plausible else ""
    if host and re.fullmatch(_QUAD, host) and not _is_address(host):
        return f"{host} is not an address"
    if host and ".." in host:
        return f"{host} is not a host"
    return ""


def cidr(value: Value, source: Source) -> Iterator[Problem]:
    """A network whose prefix or address is impossible, as a value or among the words of one."""
    if "/" not in value.text:
        return
    for found in _CIDR.finditer(value.text):
        address, prefix = found[1], int(found[2])
        fix = "write an IPv4 network, such as 172.17.0.0/16"
        if prefix > 32:
            message = f"{found[0]!r} is not a network: an IPv4 prefix is 0 to 32"
            yield Problem("cidr", message, fix, found[0])
        elif not _is_address(address):
            message = f"{found[0]!r} is not a network: {address} is not an address"
            yield Problem("cidr", message, fix, found[0])
    if not value.known:
        return
    text = value.text
    if _CIDR6.fullmatch(text) and int(text.rpartition("/")[2]) > 128 and _is_address(text):
        message = f"{text!r} is not a network: an IPv6 prefix is 0 to 128"
        yield Problem("cidr", message, "write a prefix of 0 to 128", text)
    elif _NETWORK_KEY.search(value.key) and _CIDR.fullmatch(text):
        try:
            ipaddress.ip_network(text)
        except ValueError:
            try:
                network = ipaddress.ip_network(text, strict=False)
            except ValueError:
                return
            message = f"{value.key}: {text!r} is an address in {network}, not a network"
            yield Problem("cidr-host", message, f"write {network}", text)


def address(value: Value, source: Source) -> Iterator[Problem]:
    """An IPv4 address that can't be, under a key that says that it is one."""
    if not value.known or not _ADDRESS_KEY.search(value.key.lower()):
        return
    if re.fullmatch(_QUAD, value.text) and not _is_address(value.text):
        message = f"{value.key}: {value.text!r} is not an IPv4 address"
        yield Problem(
            "address", message, "each part is 0 to 255, without zeros in front", value.text
        )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.partition("/")[0])
    except ValueError:
        return False
    return True


def mode(value: Value, source: Source) -> Iterator[Problem]:
    """A file mode with an 8 or 9 in it, or one that YAML reads as a decimal number."""
    for word in _modes(value):
        octal = word.removeprefix("0o")
        if re.fullmatch(r"0?\d{3,4}", octal) and re.search("[89]", octal):
            # decimal numbers stand for themselves: 493 is 0755
            if value.plain and source.kind in ("yaml", "json") and octal[0] != "0":
                continue
            fix = "write four digits of 0 to 7 in quotes, such as '0640'"
            yield Problem("mode", f"{word!r} is not a file mode: its digits are octal", fix, word)
    if (
        value.plain
        and source.kind == "yaml"
        and value.key == "mode"
        and value.text in _OCTAL_LOOKS
        and value.parent.rpartition(".")[2] in _FILE_MODULES
    ):
        message = f"mode: {value.text} is read as a decimal number, which is {int(value.text):#o}"
        fix = f"write '{value.text.zfill(4)}' in quotes"
        yield Problem("mode-decimal", message, fix, value.text)


def _modes(value: Value) -> Iterator[str]:
    if value.key in _MODE_KEYS and value.known:
        yield value.text
        return
    if "chmod" in value.text or "install" in value.text:
        for found in _COMMAND_MODE.finditer(value.text):
            yield found[1] or found[2]
    if "mode=" in value.text and value.key.rpartition(".")[2] in _FILE_MODULES:
        yield from re.findall(r"(?:^|\s)mode=[\"']?([0-9]+)(?![^\s\"'])", value.text)


def port(value: Value, source: Source) -> Iterator[Problem]:
    """A port that no machine has. -1 and 0 are words for "any" and "choose one"."""
    if not _PORT_KEY.search(value.key) or isinstance(value.keys[-1], int):
        return
    found = re.fullmatch(r"(-?\d+)(?:/(?:tcp|udp))?", value.text)
    if found and not -1 <= int(found[1][:12]) <= 65535:
        message = f"{value.key}: {value.text!r} is not a port"
        yield Problem("port", message, "a port is 1 to 65535", value.text)


def duration(value: Value, source: Source) -> Iterator[Problem]:
    """A time span whose unit nobody knows."""
    if not _DURATION_KEY.search(value.key) or not value.known:
        return
    found = _DURATION.fullmatch(value.text)
    if found and found[2] not in _UNITS and found[2].lower() not in _UNITS:
        message = f"{value.key}: {value.text!r} has no unit of time"
        yield Problem("duration", message, "write a number with s, m, h or d", value.text)


def domain(value: Value, source: Source) -> Iterator[Problem]:
    """A domain name that the DNS can't have."""
    text = value.text
    if not _DOMAIN_KEY.search(value.key) or not _DOMAIN.fullmatch(text) or "." not in text:
        return
    labels = text.removeprefix("*.").removeprefix(".").removesuffix(".").split(".")
    reason = ""
    if "" in labels:
        reason = "it has two dots in a row"
    elif any(len(label) > 63 for label in labels) or len(text) > 253:
        reason = "a part has at most 63 letters, the whole 253"
    elif any(label[0] == "-" or label[-1] == "-" for label in labels):
        reason = "no part begins or ends with a dash"
    if reason:
        message = f"{value.key}: {text!r} is not a domain name: {reason}"
        yield Problem("domain", message, "write a name such as shop.example.org", text)


_CRON_FIELDS = {
    "minute": (0, 59),
    "hour": (0, 23),
    "day": (1, 31),
    "month": (1, 12),
    "weekday": (0, 7),
}
"""The fields of a line of cron, in order, with what they range over."""
_CRON_PART = re.compile(r"(\*|\w+)(?:-(\w+))?(?:/(\d+))?")


def cron(value: Value, source: Source) -> Iterator[Problem]:
    """A line of five fields of cron, or a field of Ansible's module, that names no time."""
    if not value.known:
        return
    fields: dict[str, str] = {}
    if value.parent.rpartition(".")[2] == "cron":
        fields = {value.key: value.text}
    elif _CRON_KEY.search(value.key):
        words = value.text.split()
        # six or seven fields are other schedulers'
        if len(words) == 5 and all(re.fullmatch(r"[\d*/,\-A-Za-z]+", word) for word in words):
            fields = dict(zip(_CRON_FIELDS, words, strict=True))
    for name, text in fields.items():
        reason = _cron_reason(name, text) if name in _CRON_FIELDS else ""
        if reason:
            message = f"{value.text!r} is no time for cron: {reason}"
            yield Problem("cron", message, "see crontab(5)", value.text)


def _cron_reason(name: str, text: str) -> str:
    low, high = _CRON_FIELDS[name]
    for part in text.split(","):
        found = _CRON_PART.fullmatch(part)
        for word in found.groups()[:2] if found else ():
            # names of days and months, and the letters of dialects, are not judged
            if word and word.isdecimal() and not low <= int(word[:6]) <= high:
                return f"a {name} is {low} to {high}, not {word}"
        if found and found[3] and int(found[3][:6]) == 0:
            return f"a {name} can't have a step of 0"
    return ""
