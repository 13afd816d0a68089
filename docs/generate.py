"""Regenerates the parts of the documentation that the code knows better than a writer.

`make docs` rewrites what stands between `<!-- generated: NAME -->` and `<!-- end -->`, and
the JSON Schemas in docs/schemas/;
with `--check` nothing is written, and a stale part ends it with exit code 1.
"""

from __future__ import annotations

import copy
import inspect
import json
import re
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.main import cli
from commands.options import Globals
from commands.output import envelope
from commands.registry import COMMANDS
from deployer import Deployer, __version__, events, providers, schemas
from deployer.apps import render
from deployer.apps.manifest import App, AppManifest
from deployer.apps.reference import Source
from deployer.environment import interpolation
from deployer.environment.hooks import ON_CONTROLLER, ON_HOSTS
from deployer.environment.models import Configuration, EnvironmentFile, HealthPolicy
from deployer.environment.settings import Setting
from deployer.environment.toml import TomlFile
from deployer.errors import CODE_MEANING, EXIT_MEANING, Code, Exit, Finding, GateError
from deployer.lifecycle import hooks
from deployer.paths import TEMPLATES, Workspace
from deployer.preflight.values.rules import RULES
from deployer.providers.manifest import Option, ProviderManifest
from deployer.results import Summary, VerbResult
from state import machine
from state.machine import BASE, NOTHING, VERBS, Position, State
from state.records import EnvironmentRecord, HostRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pydantic import BaseModel

ROOT = Path(__file__).parent.parent
PART = re.compile(r"<!-- generated: ([a-z-]+) -->\n.*?<!-- end -->", re.DOTALL)


def pages() -> list[Path]:
    """Every page of the documentation."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def regenerated(text: str) -> str:
    """A page with every generated part as the code says it now."""
    return PART.sub(lambda found: _part(found[1]), text)


def _part(name: str) -> str:
    return f"<!-- generated: {name} -->\n{PARTS[name]().strip()}\n<!-- end -->"


def _table(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _code(values: Iterable[object]) -> str:
    return ", ".join(f"`{value}`" for value in values) or "–"


# ---- the state machine


def states() -> str:
    """Every state with its rank, its meaning and what may be run from it."""
    return _table(
        ("State", "Rank", "Meaning", "Allowed from here"),
        ((f"`{state}`", _rank(state), _meaning(state), _allowed_from(state)) for state in State),
    )


def _rank(state: State) -> str:
    if state is State.STOPPING:
        return f"at most {Position.of(State.RELEASED).rank}"
    rank = Position.of(state).rank
    return "–" if rank == machine.NO_RANK else str(rank)


def _meaning(state: State) -> str:
    if state is State.ABSENT:
        return "nothing is recorded"
    if state in machine.ACTING:
        return f"`{machine.ACTING[state].name}` is acting"
    failed = [
        verb for verb in VERBS.values() if verb.failure is state and verb.success is not state
    ]
    if failed:
        return f"`{failed[0].name}` failed or was interrupted"
    done = [verb.name for verb in VERBS.values() if verb.success is state]
    if machine.succeed(Position.of(State.RUNNING), "stop", changed=True).state is state:
        done.append("stop")
    return " or ".join(f"`{name}`" for name in done) + " succeeded"


def _allowed_from(state: State) -> str:
    if state in machine.ACTING:
        return "–"
    return _code(machine.allowed_verbs(Position.of(state)))


def verbs() -> str:
    """The table of verbs."""
    return _table(
        ("Verb", "Needs", "While acting", "On success", "On failure"),
        (
            (
                f"`{verb.name}`",
                _needs(verb),
                f"`{verb.acting}`" if verb.acting else "–",
                f"`{verb.success}`"
                if verb.success
                else "`released` if it was `running`, else the state that it found",
                f"`{verb.failure}`"
                if verb.failure
                else "the same, still serving"
                if verb.acting
                else "nothing is recorded",
            )
            for verb in VERBS.values()
        ),
    )


def _needs(verb: machine.Verb) -> str:
    if verb.needs is not None:
        text = f"`{BASE[verb.needs]}` or further"
        top = Position.of(State.RELEASED)
        refused = not machine.allowed(verb.name, top, serving=True)
        return f"{text}, nothing serving" if refused else text
    able = {
        s for s in (*machine.SETTLED, State.ABSENT) if machine.allowed(verb.name, Position.of(s))
    }
    if able <= set(NOTHING):
        return f"no environment: {_code(s for s in State if s in able)}"
    missing = [s for s in (State.ABSENT, *machine.SETTLED) if s not in able]
    return f"any state but {_code(missing)}"


def diagram() -> str:
    """The normal way of every verb, drawn by transitions from edges of the table."""
    from transitions.extensions import GraphMachine

    known = set(machine.edges())
    drawn: list[list[str]] = []

    def draw(label: str, edge: machine.Edge) -> None:
        assert edge in known, edge
        drawn.append([label, edge.source.value, edge.dest.value])

    for name, verb in VERBS.items():
        start = _normal_start(verb)
        if verb.acting is None:
            draw(name, machine.Edge(f"succeed_{name}", start, State.CREATED))
            continue
        origin = Position.of(start)
        done = machine.succeed(origin, name, changed=True).state
        failed = machine.fail(origin, name).state
        draw(name, machine.Edge(f"begin_{name}", start, verb.acting))
        draw("success", machine.Edge(f"succeed_{name}", verb.acting, done))
        draw("failure", machine.Edge(f"fail_{name}", verb.acting, failed))
        if failed is not done:
            draw(f"{name} again", machine.Edge(f"begin_{name}", failed, verb.acting))
    used = [state.value for state in State if any(state in (a, b) for _, a, b in drawn)]
    graph = GraphMachine(
        model=type("Environment", (), {})(),
        states=used,
        initial=State.ABSENT.value,
        transitions=drawn,
        auto_transitions=False,
        graph_engine="mermaid",
    )
    text = str(graph.model.get_graph().draw(None))
    # its colours are made for white pages; a reader's theme knows better
    lines = [
        line.rstrip()
        for line in text.partition("stateDiagram-v2\n")[2].splitlines()
        if line.strip() and not line.strip().lower().startswith("class")
    ]
    lines += [
        "  note right of running",
        "    A look lowers the state to what is really there:",
        f"    {', '.join(BASE[rank] for rank in range(len(BASE) - 1))}.",
        "  end note",
    ]
    return "```mermaid\nstateDiagram-v2\n" + "\n".join(lines) + "\n```"


def _normal_start(verb: machine.Verb) -> State:
    if verb.name == "create":
        return State.ABSENT
    if verb.raises:
        assert verb.needs is not None
        return BASE[verb.needs]
    return State.RELEASED if verb.name == "clear" else State.RUNNING


# ---- commands


def commands() -> str:
    """The help of the program, then of every command by section."""
    root = click.Context(cli, info_name="deployer", terminal_width=80, **cli.context_settings)
    parts = ["## deployer", _block(cli.get_help(root))]
    section = ""
    for name, entry in COMMANDS.items():
        if entry.section != section:
            section = entry.section
            parts.append(f"## {section}")
        command = cli.get_command(root, name)
        assert command is not None
        parts += [f"### deployer {name}", entry.summary, *_helps(command, name, root)]
    return "\n\n".join(parts)


def _helps(command: click.Command, name: str, parent: click.Context) -> list[str]:
    """The help of a command, and of those inside it."""
    own = copy.copy(command)
    # said once, above
    own.params = [p for p in command.params if p.name not in Globals.__dataclass_fields__]
    context = click.Context(own, info_name=name, parent=parent, terminal_width=80)
    inner = command.commands if isinstance(command, click.Group) else {}
    texts = [_block(own.get_help(context))]
    for key, one in inner.items():
        texts += [f"#### {context.command_path} {key}", *_helps(one, key, context)]
    return texts


def _block(text: str, language: str = "text") -> str:
    return f"```{language}\n{text.rstrip()}\n```"


# ---- errors and events


def exit_codes() -> str:
    """Every exit code."""
    return _table(("Code", "Meaning"), ((code.value, EXIT_MEANING[code]) for code in Exit))


def error_codes() -> str:
    """Every error code."""
    return _table(("Code", "Meaning"), ((f"`{code}`", CODE_MEANING[code]) for code in Code))


def _fixed(text: str) -> str:
    """A document with the values that differ each time replaced."""
    text = re.sub(r'"timestamp": "[^"]+"', '"timestamp": "2026-01-31T12:00:00.000+00:00"', text)
    return text.replace(f'"version": "{__version__}"', '"version": "…"')


def envelope_success() -> str:
    """The envelope of a deploy that ran all four verbs."""
    moment = "2026-01-31T12:00:00.000+00:00"
    seconds = {"provision": 0.011, "configure": 1.003, "release": 1.024, "run": 2.718}
    record = EnvironmentRecord(
        id=1,
        name="demo",
        generation=1,
        uuid="5f2c1a9e-0000-4000-8000-000000000000",
        state=State.RUNNING,
        rank=Position.of(State.RUNNING).rank,
        version=9,
        created_at=moment,
        updated_at=moment,
        config={
            "app": "guestbook",
            "provider": "local",
            "runtime": "supervisor",
            "settings": {"port": 8080, "title": "Guestbook"},
        },
        inputs={"release": {"number": 1}},
        hosts=[
            HostRecord("localhost", "local", "127.0.0.1", "", serving=[1], outcome="run: changed")
        ],
    )
    ran = [VerbResult(verb, "succeeded", verb != "provision", s) for verb, s in seconds.items()]
    found = Summary(record, ["http://127.0.0.1:8080/"], ran)
    operation = "20260131T115955482-1a2b3c4d"
    return _block(_fixed(envelope(found.to_dict(), operation_id=operation)), "json")


def envelope_error() -> str:
    """The envelope of a gate that refused."""
    error = GateError(
        "settings.port: port 8080 is in use by python3 (pid 4711)",
        hint="End that process, or set another port.",
        findings=[
            Finding(
                "port-in-use",
                "settings.port: port 8080 is in use by python3 (pid 4711)",
                fix="end that process, or set another port",
                file="environments/demo.toml",
                value="8080",
            )
        ],
    )
    error.resume = "deployer deploy demo"
    operation = "20260131T115955482-1a2b3c4d"
    return _block(_fixed(envelope(None, error=error.to_dict(), operation_id=operation)), "json")


def event_table() -> str:
    """Every event with its own fields, and the fields that all have."""
    common = [name for name in events.Event.model_fields if name != "event"]
    rows = [
        (
            f"`{kind.__name__}`",
            _first_paragraph(kind),
            _code(name for name in kind.model_fields if name not in (*common, "event")),
        )
        for kind in events.Event.__subclasses__()
    ]
    return (
        f"Every event has `event` (its name), {_code(common)}. "
        "Times are UTC in ISO 8601, durations are seconds.\n\n"
        + _table(("Event", "Meaning", "Its own fields"), rows)
    )


def _first_paragraph(thing: Any) -> str:
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())


# ---- files


def _fields(model: type[BaseModel], links: dict[str, str]) -> str:
    """The keys of a model: type, default, meaning. `links` says where its tables are described."""
    schema = model.model_json_schema()
    required = schema.get("required", [])
    rows = []
    for key, found in schema["properties"].items():
        field = model.model_fields[key]
        default = "required" if key in required else _default(found.get("default"))
        about = (field.description or "").strip()
        assert about, f"{model.__name__}.{key} has no description"
        rows.append((f"`{key}`", _type(found, links, schema), default, about))
    return _table(("Key", "Type", "Default", "Meaning"), rows)


def _default(value: Any) -> str:
    return "–" if value is None or value in ({}, []) else f"`{json.dumps(value)}`"


def _type(found: dict[str, Any], links: dict[str, str], schema: dict[str, Any]) -> str:
    if "$ref" in found:
        name = found["$ref"].rpartition("/")[2]
        return f"table, see [{links[name]}](#{links[name]})" if name in links else "table"
    if "anyOf" in found:
        kinds = [_type(k, links, schema) for k in found["anyOf"] if k.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in found:
        return "one of " + _code(found["enum"])
    kind = found.get("type")
    if kind == "array":
        return f"list: {_type(found['items'], links, schema)}"
    if kind == "object":
        inner = found.get("additionalProperties")
        return f"table: {_type(inner, links, schema)}" if isinstance(inner, dict) else "table"
    return schemas.in_words(found)


def environment_file() -> str:
    """The keys of an environment file."""
    links = {"HealthPolicy": "health"}
    return "\n\n".join(
        (
            _fields(EnvironmentFile, links),
            "### health",
            _first_paragraph(HealthPolicy),
            _fields(HealthPolicy, links),
        )
    )


def hook_names() -> str:
    """Every hook, and where it may be written."""
    return _table(
        ("Hook", "In the environment file", "In app.toml"),
        (
            (f"`{name}`", "runs here", "runs on every host" if name in ON_HOSTS else "–")
            for name in ON_CONTROLLER
        ),
    )


def hook_facts() -> str:
    """What a hook reads on stdin."""
    return _table(("Key", "Meaning"), ((f"`{key}`", about) for key, about in hooks.FACTS.items()))


def hook_variables() -> str:
    """What a hook finds in its environment."""
    where = {"both": "everywhere", "here": "here", "hosts": "on hosts"}
    return _table(
        ("Variable", "Set", "Value"),
        ((f"`{key}`", where[on], about) for key, (on, about) in hooks.VARIABLES.items()),
    )


def app_manifest() -> str:
    """The keys of an application's manifest."""
    from deployer.apps.manifest import Build, HealthCheck, RenderedFile, Service

    sections = {Service: "services", HealthCheck: "health", RenderedFile: "files"}
    sections = {**sections, Build: "build", Setting: "settings"}
    links = {model.__name__: name for model, name in sections.items()}
    parts = [_fields(AppManifest, links)]
    for model, name in sections.items():
        parts += [f"### {name}", _first_paragraph(model), _fields(model, links)]
    return "\n\n".join(parts)


NAMES = {
    "paths.base": "the workspace's folder",
    "paths.release": "the folder of the release on the host",
    "paths.shared": "the folder on the host that outlives releases",
    "env.NAME": "a variable of the environment that deployer runs in, such as `env.HOME`",
    "now.date": "the day, UTC, such as `2026-01-31`",
    "now.iso": "the moment, UTC, in ISO 8601",
    "git.branch": "the branch that the workspace has checked out; empty where there is none",
    "environment.name": "the environment's name",
    "settings.NAME": "a setting of the application",
    "host.name": "the host's name",
    "host.address": "where the host is reached",
    "host.bind": "what a service listens on to be reached there: loopback on `local`",
    "release.id": "the number of the release",
}


def names() -> str:
    """What may stand between double braces, and where."""
    given = {"settings": {"port": 1}}
    own = interpolation.context(base=ROOT, name="demo")
    inside = _known_names(interpolation.Values(given, own, lambda *_: None, lambda _: {}).names)
    everywhere = _known_names(_release_names())
    assert set(NAMES) == everywhere, set(NAMES) ^ everywhere
    return _table(
        ("Name", "Value", "Also in environment files"),
        ((f"`{name}`", about, "yes" if name in inside else "no") for name, about in NAMES.items()),
    )


def _known_names(context: Mapping[str, interpolation.Names]) -> set[str]:
    return {
        f"{prefix}.NAME" if prefix in ("env", "settings") else f"{prefix}.{name}"
        for prefix, found in context.items()
        for name in found._values
    }


def _release_names() -> dict[str, interpolation.Names]:
    """The names that a release is rendered with, caught where they are made."""
    caught: dict[str, interpolation.Names] = {}
    real = interpolation.context

    def catching(**given: Any) -> dict[str, interpolation.Names]:
        caught.update(real(**given))
        return caught

    manifest = AppManifest.model_validate(
        {"name": "demo", "services": [{"name": "web", "command": ["true"]}]}
    )
    configuration = Configuration("demo", "demo", "local", "supervisor", settings={"port": 1})
    target = render.Target("localhost", "127.0.0.1", "127.0.0.1", "/srv/deployer/demo")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "app.toml"
        path.touch()
        app = App(path.parent, manifest, TomlFile(path, "app.toml"), ".", Source("folder", "."))
        interpolation.context = catching  # type: ignore[assignment]
        try:
            render.render(app, configuration, target, ROOT, 1, datetime.now(UTC))
        finally:
            interpolation.context = real
    return caught


# ---- the library


def library() -> str:
    """The methods of `Deployer`."""
    rows = []
    for name, member in vars(Deployer).items():
        if name.startswith("_"):
            continue
        function = getattr(member, "__func__", member)
        wanted = [p for p in inspect.signature(function).parameters if p not in ("self", "cls")]
        rows.append((f"`{name}({', '.join(wanted)})`", _first_paragraph(function)))
    return _table(("Method", "What it does"), rows)


def provider_manifest() -> str:
    """The keys of provider.toml."""
    return "\n\n".join(
        (
            _fields(ProviderManifest, {"Option": "options"}),
            "#### options",
            _first_paragraph(Option),
            _fields(Option, {}),
        )
    )


def provider_options() -> str:
    """Each packaged provider with its options."""
    parts = []
    for folder in sorted((TEMPLATES / "providers").glob("*/provider.toml")):
        manifest = providers.read(Workspace(ROOT, ROOT / ".deployer"), folder.parent).manifest
        parts.append(f"### {manifest.name}\n\n{manifest.description}")
        parts.append(f"Offers {_code(manifest.capabilities)}.")
        if manifest.options:
            rows = (
                (f"`{name}`", o.type, _option_default(o), o.description)
                for name, o in manifest.options.items()
            )
            parts.append(_table(("Option", "Type", "Default", "Meaning"), rows))
    return "\n\n".join(parts)


def _option_default(option: Option) -> str:
    if option.default is None:
        return "–" if option.optional else "required"
    return f"`{json.dumps(option.default)}`"


def value_rules() -> str:
    """Every rule of the value gate."""
    return _table(
        ("Rule", "Level", "Finds", "For example"),
        (
            (f"`{name}`", rule.level, rule.finds, f"`{rule.example}`" if rule.example else "–")
            for name, rule in RULES.items()
        ),
    )


def _judged() -> dict[str, Any]:
    found = json.loads((ROOT / "e2e/corpus/judged.json").read_text(encoding="utf-8"))
    return dict(found)


def corpus_counts() -> str:
    """What the rules found in real files, counted."""
    rows: list[Sequence[object]] = []
    totals = [0] * 5
    for name, part in _judged().items():
        judged = Counter(one["judged"] for one in part["findings"])
        kinds = [judged[kind] for kind in ("right", "on purpose", "wrong")]
        counts = [part["files"], len(part["findings"]), *kinds]
        totals = [total + count for total, count in zip(totals, counts, strict=True)]
        rows.append((f"{name} {part['version']}", *counts))
    rows.append(("all", *totals))
    return _table(("Source", "Files", "Findings", "Right", "On purpose", "Wrong"), rows)


def corpus_findings() -> str:
    """Every finding in real files, with its judgement."""
    lines: dict[tuple[str, ...], list[str]] = {}
    for name, part in _judged().items():
        for one in part["findings"]:
            key = (name, one["file"], one["rule"], one["judged"])
            lines.setdefault(key, []).append(str(one["line"]))
    return _table(
        ("Source", "File", "Rule", "Judged", "Lines"),
        (
            (name, f"`{file}`", f"`{rule}`", judged, ", ".join(found))
            for (name, file, rule, judged), found in lines.items()
        ),
    )


PARTS: dict[str, Callable[[], str]] = {
    "states": states,
    "verbs": verbs,
    "diagram": diagram,
    "commands": commands,
    "exit-codes": exit_codes,
    "error-codes": error_codes,
    "envelope-success": envelope_success,
    "envelope-error": envelope_error,
    "events": event_table,
    "environment-file": environment_file,
    "hook-names": hook_names,
    "hook-facts": hook_facts,
    "hook-variables": hook_variables,
    "app-manifest": app_manifest,
    "provider-manifest": provider_manifest,
    "providers": provider_options,
    "names": names,
    "library": library,
    "value-rules": value_rules,
    "corpus-counts": corpus_counts,
    "corpus-findings": corpus_findings,
}


def main(check: bool) -> int:
    """Rewrite every page, or only say which one is stale. Returns the exit code."""
    stale = []
    for page in pages():
        text = page.read_text(encoding="utf-8")
        new = regenerated(text)
        if new != text:
            stale.append(str(page.relative_to(ROOT)))
            if not check:
                page.write_text(new, encoding="utf-8")
    for kind in schemas.KINDS:
        path = ROOT / "docs" / "schemas" / f"{kind}.json"
        text = json.dumps(schemas.schema(kind), indent=2) + "\n"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(str(path.relative_to(ROOT)))
            if not check:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8")
    for name in stale:
        print(f"{name} is stale; run: make docs" if check else f"{name} is rewritten")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
