"""The documentation: current, complete, linked, and its examples really run."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.request import urlopen

import click
import pytest

from commands.main import cli
from commands.options import Globals
from commands.registry import COMMANDS
from deployer import events
from deployer.errors import Code, Exit
from docs import generate, transcripts
from state.machine import VERBS, State

if TYPE_CHECKING:
    from pathlib import Path

DOCS = generate.ROOT / "docs"
WORKED_EXAMPLE = DOCS / "applications.md"
OTHER_EXAMPLES = [p for p in transcripts.pages() if p != WORKED_EXAMPLE]


def text_of(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def shown(page: Path) -> str:
    return str(page.relative_to(generate.ROOT))


# ---- generated parts


def test_generated_parts_are_current() -> None:
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"],
        cwd=generate.ROOT,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_stale_part_is_found_and_rewritten() -> None:
    page = "before\n<!-- generated: exit-codes -->\nold\n<!-- end -->\nafter\n"

    new = generate.regenerated(page)

    assert "old" not in new
    assert "| 40 | run failed |" in new
    assert new.startswith("before\n<!-- generated: exit-codes -->\n")
    assert new.endswith("<!-- end -->\nafter\n")


def test_every_generated_part_is_on_a_page() -> None:
    everything = "".join(page.read_text(encoding="utf-8") for page in generate.pages())

    used = set(generate.PART.findall(everything))

    assert used == set(generate.PARTS)


# ---- completeness


def section(text: str, heading: str) -> str:
    """From a heading to the next one of any level."""
    found = re.search(rf"^{re.escape(heading)}$(.*?)(?=^#+ |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"there is no heading {heading!r}"
    return found[1]


def every_command() -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        inner = command.commands if isinstance(command, click.Group) else {}
        found |= {f"### deployer {name}": command}
        found |= {f"#### deployer {name} {key}": one for key, one in inner.items()}
    return found


@pytest.mark.parametrize(("heading", "command"), every_command().items())
def test_every_command_is_documented_with_its_options(heading: str, command: click.Command) -> None:
    about = section(text_of("commands.md"), heading).partition("Options:")[2]

    for parameter in command.params:
        if isinstance(parameter, click.Option) and (
            parameter.name not in Globals.__dataclass_fields__
        ):
            for option in parameter.opts:
                assert re.search(rf"(?<!\S){re.escape(option)}\b", about), option


def test_every_global_option_is_documented() -> None:
    about = section(text_of("commands.md"), "## deployer").partition("Options:")[2]

    for parameter in cli.params:
        for option in parameter.opts:
            assert re.search(rf"(?<!\S){re.escape(option)}\b", about), option


def rows(text: str) -> set[str]:
    """The first cells of all tables."""
    return {cell.strip().strip("`") for cell in re.findall(r"^\| ([^|]+)", text, re.MULTILINE)}


def test_every_exit_code_and_error_code_is_documented() -> None:
    text = text_of("errors.md")

    assert {str(code.value) for code in Exit} <= rows(section(text, "## Exit codes"))
    assert {code.value for code in Code} <= rows(section(text, "## Error codes"))


def test_every_event_is_documented() -> None:
    kinds = {kind.__name__ for kind in events.Event.__subclasses__()}

    assert kinds <= rows(section(text_of("errors.md"), "## Events"))


def test_every_state_and_verb_is_documented() -> None:
    text = text_of("concepts.md")

    assert {state.value for state in State} <= rows(section(text, "## States"))
    assert set(VERBS) <= rows(section(text, "## Verbs"))


def test_the_diagram_shows_every_verb_and_state() -> None:
    found = re.search(r"```mermaid\n(.*?)```", text_of("concepts.md"), re.DOTALL)
    assert found

    for state in State:
        assert re.search(rf"\b{state}\b", found[1]), state
    for verb in VERBS:
        assert re.search(rf" --> \w+: {verb}\b", found[1]), verb


def test_every_decision_has_a_status_and_is_listed() -> None:
    decisions = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    listed = text_of("decisions/README.md")

    assert decisions
    for decision in decisions:
        assert re.search(r"^Status: \w+", decision.read_text(encoding="utf-8"), re.MULTILINE)
        assert f"({decision.name})" in listed


# ---- links


def anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub makes anchors of them."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", generate.pages(), ids=shown)
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)

    for link in re.findall(r"\[[^\]]+\]\(([^)\s]+)\)", prose):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


# ---- examples


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def assert_same(page: Path, recorded: str) -> None:
    written = page.read_text(encoding="utf-8")
    remedy = f"record it again: python docs/transcripts.py {shown(page)}"
    assert transcripts.comparable(recorded) == transcripts.comparable(written), remedy


@pytest.mark.parametrize("page", OTHER_EXAMPLES, ids=shown)
def test_commands_print_what_the_page_says(page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")

    with transcripts.session(text, tmp_path, free_port()) as recorded:
        assert_same(page, recorded)


def test_the_worked_example_deploys_and_answers(tmp_path: Path) -> None:
    text = WORKED_EXAMPLE.read_text(encoding="utf-8")

    with transcripts.session(text, tmp_path, free_port()) as recorded:
        shown = json.loads(transcripts.run("deployer show hello --output json", tmp_path))["data"]
        first, second = (urlopen(shown["urls"][0], timeout=10).read().decode() for _ in range(2))
        release = tmp_path / ".deployer/environments/hello/host/releases/3"
        released = sorted(path.name for path in release.iterdir())

    assert_same(WORKED_EXAMPLE, recorded)
    assert "<h1>Welcome, visitor " in first
    assert "This is release 3." in first
    # deployer opened it after each of the two deploys that succeeded: shared/ outlives releases
    assert (visitor(first), visitor(second)) == (3, 4)
    # the template is ignored, what was made from it is there
    assert released == [".deployer", "app.toml", "page.html", "server.py"]


def visitor(page: str) -> int:
    found = re.search(r"visitor (\d+)", page)
    assert found
    return int(found[1])
