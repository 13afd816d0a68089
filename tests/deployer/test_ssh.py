"""OpenSSH's command lines, as OpenSSH itself understands them, and the processes behind them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from deployer.errors import Code, InterruptedOperation
from deployer.tools import ssh, ssh_problem
from deployer.tools.interrupt import Interrupt

if TYPE_CHECKING:
    from pathlib import Path

ODD = "a b %h 'one' \"two\" \\ three"


@pytest.fixture
def login(tmp_path: Path) -> ssh.Login:
    folder = tmp_path / ODD
    (folder / "s").mkdir(parents=True)
    return ssh.Login(
        "web-1", "10.0.0.7", 2200, "admin", folder / "known", folder / "s", key=folder / "id"
    )


def understood(*options: str) -> dict[str, str]:
    """The options that ssh would go by; it prints IdentityFile before %-expansion."""
    done = subprocess.run(
        ["ssh", "-F", "none", "-G", *options, "10.0.0.7"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.partition(" ")[::2] for line in done.stdout.splitlines())


def test_ssh_understands_any_path(login: ssh.Login) -> None:
    found = understood(*ssh.options(login))
    assert found["userknownhostsfile"] == str(login.known_hosts)
    assert found["controlpath"].startswith(f"{login.control}/")
    assert found["identityfile"].replace("%%", "%") == str(login.key)
    assert found["hostkeyalias"] == "web-1"
    assert found["port"] == "2200"


def test_the_way_through_another_host_has_pins_of_its_own(login: ssh.Login) -> None:
    way = understood(*ssh.options(replace(login, jump="me@[::1]:2222")))["proxycommand"]
    # as the shell that ssh runs it by takes it apart, %% being what ssh makes a % of
    words = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' {way.replace('%%', '%')}"], capture_output=True, text=True
    ).stdout.splitlines()
    assert words[-2:] == ["[%h]:%p", "::1"]
    found = understood(*words[1:-3])
    assert found["userknownhostsfile"] == str(login.known_hosts)
    assert found["hostkeyalias"] == "jump-[::1]:2222"
    assert (found["user"], found["port"]) == ("me", "2222")


def test_keys_are_learnt_only_at_first_contact(login: ssh.Login) -> None:
    assert understood(*ssh.options(login))["stricthostkeychecking"] in ("yes", "true")
    first = understood(*ssh.options(login, first=True))
    assert first["stricthostkeychecking"] == "accept-new"


def test_only_a_person_is_asked(login: ssh.Login) -> None:
    assert understood(*ssh.options(login))["batchmode"] == "yes"
    assert understood(*ssh.options(login, tty=True))["batchmode"] == "no"


def test_a_command_is_one_word_for_the_host_and_no_option_of_ssh(login: ssh.Login) -> None:
    line = ssh.command(login, ["echo", "$HOME; rm x", "-o"], master=False)
    assert line[-3:] == ["--", "10.0.0.7", "echo '$HOME; rm x' -o"]


def test_sudo_reads_the_password_only_where_there_is_one(login: ssh.Login) -> None:
    assert ssh.as_root(login, ["id"]) == ["sudo", "-n", "--", "id"]
    secret = replace(login, password="hidden")
    assert ssh.as_root(secret, ["id"]) == ["sudo", "-S", "-p", "", "--", "id"]
    assert ssh.as_root(replace(login, user="root"), ["id"]) == ["id"]
    assert "hidden" not in repr(secret)


# ---- processes

ENVIRONMENT = {"PATH": os.environ["PATH"]}
MUCH = 3_000_000


def run(
    timeout: float = 20, interrupt: Interrupt | None = None, **jobs: ssh.Job
) -> dict[str, ssh.Done]:
    return ssh.run(jobs, environment=ENVIRONMENT, timeout=timeout, interrupt=interrupt)


def test_much_goes_in_and_out_at_once(tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(b"b" * MUCH)
    copy = "import sys; d = sys.stdin.buffer.read(); sys.stderr.write('e' * len(d)); print(len(d))"
    done = run(one=ssh.Job([sys.executable, "-c", copy], b"h" * MUCH, body))["one"]
    assert (done.code, int(done.stdout), len(done.stderr)) == (0, 2 * MUCH, 2 * MUCH)


def test_one_that_reads_nothing_ends_all_the_same() -> None:
    assert run(one=ssh.Job(["sh", "-c", "exit 5"], b"x" * MUCH))["one"].code == 5


def test_what_stays_behind_with_an_open_pipe_is_not_waited_for() -> None:
    started = time.monotonic()
    done = run(one=ssh.Job(["sh", "-c", "echo said; sleep 9 & exit 3"]))["one"]
    assert (done.code, done.stdout) == (3, b"said\n")
    assert time.monotonic() - started < 5


def test_one_that_takes_too_long_costs_no_other_its_answer(login: ssh.Login) -> None:
    done = run(
        timeout=0.5,
        slow=ssh.Job(["sh", "-c", "echo half; exec sleep 60"]),
        quick=ssh.Job(["echo", "done"]),
    )
    assert done["quick"].stdout == b"done\n"
    assert done["slow"].stdout == b"half\n"
    problem = ssh_problem.problem(login, done["slow"])
    assert (problem.code, problem.host) == (Code.TIMEOUT, "web-1")


def test_a_signal_ends_all_of_them() -> None:
    interrupt = Interrupt()
    interrupt.number = 2
    with pytest.raises(InterruptedOperation):
        run(interrupt=interrupt, one=ssh.Job(["sleep", "61.25"]))
    assert subprocess.run(["pgrep", "-f", "sleep 61.25"]).returncode == 1


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("ssh: connect to host 10.0.0.7 port 2200: Connection refused", Code.CONNECTION_REFUSED),
        ("Connection timed out during banner exchange", Code.CONNECTION_TIMEOUT),
        ("ssh: connect to host x port 22: No route to host", Code.HOST_UNREACHABLE),
        ("admin@10.0.0.7: Permission denied (publickey).", Code.AUTHENTICATION_FAILED),
        ("Host key verification failed.", Code.HOST_KEY_CHANGED),
    ],
)
def test_failures_are_told_apart_each_with_its_remedy(
    login: ssh.Login, said: str, code: Code
) -> None:
    done = ssh.Done(255, b"", said.encode())
    found = ssh_problem.problem(login, done)
    assert (found.code, found.host) == (code, "web-1")
    assert found.hint
    assert ssh.failed(done)


def test_a_command_may_end_with_the_exit_code_of_ssh() -> None:
    assert not ssh.failed(ssh.Done(255, b"", b"hostname: unrecognized option\n"))
    assert not ssh.failed(ssh.Done(255, b"", b""))


def test_what_the_jump_host_refuses_is_not_said_of_the_host(login: ssh.Login) -> None:
    through = replace(login, jump="me@bastion:2222")
    said = b"me@bastion: Permission denied (publickey).\nConnection closed by UNKNOWN port 65535\n"
    assert ssh_problem.problem(through, ssh.Done(255, b"", said)).message == (
        "me may not log in on the jump host bastion:2222"
    )
    said = b"channel 0: open failed: connect failed: Connection refused\n"
    said += b"stdio forwarding failed\nConnection closed by UNKNOWN port 65535\n"
    assert "10.0.0.7 port 2200" in ssh_problem.problem(through, ssh.Done(255, b"", said)).message


def test_only_the_pins_of_those_that_are_named_are_dropped(tmp_path: Path) -> None:
    pins = tmp_path / "known_hosts"
    ssh.forget(pins, {"a"})
    pins.write_text("a ssh-ed25519 AAAA\nab ssh-ed25519 BBBB\njump-a ssh-ed25519 CCCC\n")
    ssh.forget(pins, {"a"})
    assert [line.split()[0] for line in pins.read_text().splitlines()] == ["ab", "jump-a"]
