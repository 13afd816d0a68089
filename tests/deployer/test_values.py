"""The value gate: what it finds in files, where, and what it leaves alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deployer.preflight import values
from deployer.preflight.values.files import Files

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.errors import Finding

WRONG = {
    "a URL in a command": (
        "site.yml",
        "- hosts: all\n  tasks:\n    - command: curl -f http:/wikipedia.org/ -o x\n",
        [("url", 3)],
    ),
    "URLs as values": (
        "a.yml",
        "a: https:/example.org/x\nb: http://example.org:99999/\nc: http://300.1.1.1/\n",
        [("url", 1), ("url", 2), ("url", 3)],
    ),
    "a line of a script": (
        "a.yml",
        "- shell: |\n    set -e\n    wget ftp:/example.org/a\n    chmod 0980 a b\n",
        [("url", 3), ("mode", 4)],
    ),
    "networks": (
        "main.tf",
        'resource "a" "b" {\n  subnet = "172.17.0.0/33"\n  other = ["10.0.0.300/8", "fd00::/129"]\n'
        '  cidr_block = "10.0.0.7/24"\n}\n',
        [("cidr", 2), ("cidr", 3), ("cidr", 3), ("cidr-host", 4)],
    ),
    "a network in a template": ("net.conf.j2", "# x\nsubnet = 172.17.0.0/33\n", [("cidr", 2)]),
    "an address": ("a.tfvars", 'gateway = "10.0.0.256"\n', [("address", 1)]),
    "modes": (
        "a.yml",
        "- copy:\n    mode: '0900'\n- ansible.builtin.file:\n    mode: 644\n"
        "- file: path=/x mode=0980\n",
        [("mode", 2), ("mode-decimal", 4), ("mode", 5)],
    ),
    "a mode in TOML": ("a.toml", '[[files]]\nmode = "0900"\n', [("mode", 2)]),
    "ports": (
        "a.json",
        '{\n  "port": 80800,\n  "http_port": "70000/tcp",\n  "x": {"hostPort": -7}\n}\n',
        [("port", 2), ("port", 3), ("port", 4)],
    ),
    "cron": (
        "a.yml",
        "schedule: 61 * * * *\njob:\n  cron_expression: '0 0 * 13 0'\n"
        "t:\n- ansible.builtin.cron:\n    hour: '24'\n    minute: '*/0'\n",
        [("cron", 1), ("cron", 3), ("cron", 6), ("cron", 7)],
    ),
    "time spans": (
        "a.yml",
        "timeout: 10x\nretry_interval: 5 sekunden\n",
        [("duration", 1), ("duration", 2)],
    ),
    "domains": (
        "a.toml",
        'domain = "shop..org"\ndomains = ["a.org", "-b.org", "A.org"]\n',
        [("domain", 1), ("domain", 2), ("duplicate-domain", 2)],
    ),
    "ports of compose": (
        "compose.yml",
        "services:\n  a:\n    ports:\n      - '8080:80'\n      - '127.0.0.1:9000:1'\n  b:\n"
        "    ports:\n"
        "      - 127.0.0.1:8080:80\n      - '127.0.0.2:9000:1'\n      - '8080:80/udp'\n"
        "      - published: 9000\n        target: 1\n        host_ip: 127.0.0.1\n"
        "      - '70000:1'\n",
        [("duplicate-port", 8), ("duplicate-port", 11), ("port", 14)],
    ),
    "placeholders": (
        "a.yml",
        "a: <CHANGE_ME>\nb: CHANGEME\nc: https://<CHANGE_ME>/\nd: TODO\ne: YOUR_API_KEY_HERE\n",
        [("placeholder", n) for n in (1, 2, 3, 4, 5)],
    ),
    "keys": (
        "a.yml",
        "a: AKIAQ7W2E5R8T1Y4U6I9\nb: |\n  x\n  -----BEGIN RSA PRIVATE KEY-----\n"
        "  MIIEowIBAAKCAQEAt5xbXl\n",
        [("secret", 1), ("secret", 4)],
    ),
    "passwords": (
        "a.yml",
        "password: hunter2\ndb:\n  adminPassword: 'x1y2'\n"
        "url: postgres://me:s3cret@db.example.org/x\n",
        [("password", 1), ("password", 3), ("password", 4)],
    ),
    "a password of Terraform": (
        "a.tf",
        'variable "db_password" {\n  default = "hunter2"\n}\n',
        [("password", 2)],
    ),
    "files that are nowhere": (
        "roles/a/tasks/main.yml",
        "- template:\n    src: gone.j2\n    dest: /x\n- import_tasks: gone.yml\n",
        [("missing-path", 2), ("missing-path", 4)],
    ),
    "a module and a file that are nowhere": (
        "x.tf",
        'module "a" {\n  source = "./gone"\n}\nlocals {\n'
        '  a = file("${path.module}/gone.txt")\n}\n',
        [("missing-path", 2), ("missing-path", 5)],
    ),
    "a heredoc": (
        "a.tf",
        'x "y" {\n  user_data = <<-EOF\n    curl ${var.a}\n    curl http:/example.org/\n  EOF\n}\n',
        [("url", 4)],
    ),
    "no YAML": ("a.yml", "a: [1\nb: 2\n", [("syntax", 2)]),
    "no JSON": ("a.json", '{"a": 1,\n}\n', [("syntax", 2)]),
    "no TOML": ("a.toml", "a: 1\n", [("syntax", 1)]),
    "no text": ("a.yml", "a\0b", [("syntax", 1)]),
}

RIGHT = {
    "expressions of Jinja": (
        "site.yml",
        "- uri: {url: 'http:/{{ host }}/', mode: '{{ mode }}'}\n- port: '{{ 70000 }}'\n"
        "- password: '{{ lookup(\"env\", \"P\") }}'\n- cidr: '{{ net }}/33'\n",
    ),
    "expressions of HCL": (
        "main.tf",
        'x "y" {\n  cidr_block = "${var.net}/33"\n  url = "http:/${var.host}/"\n'
        "  port = var.port + 70000\n"
        '  password = var.password\n  a = cidrsubnet("10.0.0.0/33", 8, 1)\n}\n',
    ),
    "a template of YAML": (
        "a.yml",
        "{% for x in y %}\n- a: {{ x }}\n{% endfor %}\n",
    ),
    "modes that are right": (
        "a.yml",
        "- copy: {mode: 0644}\n- file: {mode: 493}\n- copy: {mode: '0640'}\n- file: {mode: u=rw}\n"
        "- nmcli: {mode: 802.3ad}\n- x: {mode: 900}\n- command: chmod 755 x\n",
    ),
    "ports that are words": ("a.tf", 'x "y" {\n  from_port = 0\n  to_port = -1\n}\n'),
    "URLs that are right": (
        "a.yml",
        "a: http://localhost:8080/x\nb: https://[::1]/\nc: curl https://example.org/a?b=http:/c\n"
        "d: sed s/http:/https:/ x\ne: 'http://'\nf: https://*.example.org/\ng: https://<host>/\n",
    ),
    "networks that are right": (
        "a.yml",
        "a: 10.0.0.7/24\ncidr: 10.0.0.0/8\nb: ::/0\nc: https://1.2.3.4/99\nversion: 1.2.3.400\n",
    ),
    "ports at other addresses": (
        "compose.yml",
        "services:\n  a: {ports: ['127.0.0.1:80:80', '53:53/udp']}\n"
        "  b: {ports: ['127.0.0.2:80:80', '53:53/tcp', '8080']}\n"
        "  c: {profiles: [x], ports: ['80:80']}\n",
    ),
    "other schedulers": (
        "a.yml",
        "schedule: rate(5 minutes)\ncron: 0 0 12 * * ?\na: {schedule: '@daily'}\n"
        "b_cron: H 3 * * 1-5\n",
    ),
    "time spans that are right": ("a.yml", "timeout: 30s\ninterval: 1h30m\nttl: 300\n"),
    "secrets that are elsewhere": (
        "a.yml",
        "password: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\nsecret: /run/secrets/x\n"
        "password_file: a\n"
        "update_password: on_create\napi_key: ''\ntoken: AKIAIOSFODNN7EXAMPLE\n"
        "client_secret: vault:a/b\n",
    ),
    "references in TOML": ("a.toml", '[settings]\npassword = { env = "P" }\n'),
    "words for people": ("de.json", '{"password": "Passwort", "secret": "Geheim"}'),
    "what may never be asked for": (
        "a.yml",
        "- include_tasks: gone.yml\n- template: {src: gone.j2}\n  when: false\n"
        "- template: {src: '{{ a }}'}\n",
    ),
    "a bomb of aliases": (
        "a.yml",
        "a: &a [x, x]\n"
        + "".join(
            f"{c}: &{c} [{p}, {p}]\n".replace("[", "[*").replace(", ", ", *")
            for p, c in zip("abcdefghijklmnop", "bcdefghijklmnopq", strict=True)
        ),
    ),
    "the same key twice": ("a.yml", "a: 1\na: 2\n"),
}


def examined(folder: Path, name: str, content: str | bytes) -> list[Finding]:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    files = Files()
    files.add(folder, "here")
    return values.examine(files)


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_found_on_its_line(tmp_path: Path, case: str) -> None:
    name, content, expected = WRONG[case]

    found = examined(tmp_path, name, content)

    assert sorted((f.rule, f.line or 0) for f in found) == sorted(expected)
    assert {f.file for f in found} == {f"here/{name}"}


@pytest.mark.parametrize("case", RIGHT)
def test_what_is_right_or_unknown_is_left_alone(tmp_path: Path, case: str) -> None:
    assert examined(tmp_path, *RIGHT[case]) == []


def test_a_finding_names_column_value_and_fix_but_no_secret(tmp_path: Path) -> None:
    content = "- get_url: url=https:/me:s3cret@example.org/\n- password: hunter2\n"

    url, password = examined(tmp_path, "a.yml", content)

    assert (url.rule, url.column) == ("url", 16)
    assert "https://me:***@example.org/" in url.fix
    assert (password.rule, password.column, password.value) == ("password", 13, "***")
    assert "s3cret" not in f"{url}{url.value}"
    assert "hunter2" not in str(password)


def test_an_excuse_with_a_reason_counts_for_its_line_or_the_next(tmp_path: Path) -> None:
    content = (
        "port: 70000  # deployer: ignore[port] another unit\n"
        "# deployer: ignore[port, url] the vendor wants it so\n"
        "port: 70001\n"
        "port: 70002\n"
    )

    assert [(f.rule, f.line) for f in examined(tmp_path, "a.yml", content)] == [("port", 4)]


@pytest.mark.parametrize("excuse", ["ignore[port]", "ignore[prot] it is", "ignore it is"])
def test_an_excuse_without_reason_or_rule_is_a_finding(tmp_path: Path, excuse: str) -> None:
    found = examined(tmp_path, "a.tf", f"port = 70000 // deployer: {excuse}\n")

    assert [f.rule for f in found] == ["port", "excuse"]


def test_a_file_that_is_too_large_is_not_read_but_said(tmp_path: Path) -> None:
    path = tmp_path / "a.yml"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    files = Files({path: "a.yml"})

    assert [(f.rule, f.level) for f in values.examine(files)] == [("too-large", "warning")]


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_another_encoding_is_said(tmp_path: Path, encoding: str) -> None:
    content = "name: Käse\nport: 70000\n".encode(encoding)

    assert [f.rule for f in examined(tmp_path, "a.yml", content)] == ["syntax"]
