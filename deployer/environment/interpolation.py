"""`{{ … }}` in values and files: sandboxed, strict, with a position for what is unknown."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from deployer.environment.settings import Given
from deployer.environment.toml import suggest
from deployer.errors import Finding
from deployer.paths import home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from jinja2.nodes import Template
    from jinja2.sandbox import ImmutableSandboxedEnvironment


MAX_VALUE = 100_000  # characters of one rendered value


class TemplateProblem(Exception):
    """A template can't be rendered; `line` counts from 1 inside the template."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class Names:
    """Names below one prefix. A value that is a function is computed when it is first used.

    No mapping: its methods would hide settings called `items` or `keys`.
    """

    __slots__ = ("_prefix", "_values")

    def __init__(self, prefix: str, values: Mapping[str, Any]) -> None:
        self._prefix = prefix
        self._values = values

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        return value() if callable(value) else value


def _unknown(names: Names, key: str) -> str:
    if names._prefix == "env":
        return f"unknown variable env.{key}: it is {'empty' if key in os.environ else 'not set'}"
    unknown = f"unknown variable {names._prefix}.{key}"
    near = suggest(key, names._values) if names._values else "none known"
    return f"{unknown} ({near})" if near else unknown


def context(
    *, base: Path, name: str, now: datetime | None = None, **more: Mapping[str, Any]
) -> dict[str, Names]:
    """The names that values of an environment file may use; `more` adds prefixes."""
    moment = now or datetime.now(UTC)
    return {
        "paths": Names("paths", {"base": str(base), **more.pop("paths", {})}),
        # an empty variable is most often one that a job failed to set: `default` is for those
        "env": Names("env", {"HOME": home()} | {k: v for k, v in os.environ.items() if v}),
        "now": Names("now", {"date": moment.strftime("%Y-%m-%d"), "iso": moment.isoformat()}),
        "git": Names("git", {"branch": lambda: _git_branch(base)}),
        "environment": Names("environment", {"name": name}),
        **{prefix: Names(prefix, values) for prefix, values in more.items()},
    }


@lru_cache(1)
def _jinja() -> ImmutableSandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Unknown(StrictUndefined):
        @property
        def _undefined_message(self) -> str:
            if isinstance(self._undefined_obj, Names):
                return _unknown(self._undefined_obj, str(self._undefined_name))
            if self._undefined_hint is None and isinstance(self._undefined_name, str):
                return f"unknown variable {self._undefined_name}"
            return super()._undefined_message

    # text for programs, not HTML: escaping would change it
    return ImmutableSandboxedEnvironment(
        undefined=Unknown, autoescape=False, keep_trailing_newline=True
    )


def is_template(text: str) -> bool:
    """Whether there is anything to render in `text`."""
    return "{{" in text or "{%" in text or "{#" in text


def render(text: str, names: Mapping[str, Any], *, plain: bool = False) -> str:
    """Render `text`. Raises `TemplateProblem` naming what is unknown and where.

    `plain` allows only what ends at once and stays short: names, text, comparisons, a few filters.
    """
    if not is_template(text):
        return text
    from jinja2 import TemplateError, TemplateSyntaxError, UndefinedError

    try:
        parsed = _jinja().parse(text)
        if plain:
            _refuse_more(parsed)
        return _jinja().from_string(parsed).render(names)
    except TemplateSyntaxError as problem:
        raise TemplateProblem(f"not a valid template: {problem.message}", problem.lineno) from None
    except UndefinedError as problem:
        raise TemplateProblem(problem.message or str(problem), _line(problem)) from None
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as problem:
        raise TemplateProblem(f"can't be rendered: {problem}", _line(problem)) from None
    except (RecursionError, MemoryError, OverflowError) as problem:
        raise TemplateProblem(f"can't be rendered: {type(problem).__name__}") from None


_PLAIN = frozenset(
    {
        *("Template", "Output", "TemplateData", "Name", "Getattr", "Getitem", "Const", "Filter"),
        *("Concat", "CondExpr", "Compare", "Operand", "Not", "And", "Or", "Add", "Sub", "Neg"),
    }
)
_FILTERS = frozenset({"default", "d", "lower", "upper", "trim"})


def _refuse_more(parsed: Template) -> None:
    from jinja2 import nodes

    for node in parsed.find_all(nodes.Node):
        kind = type(node).__name__
        if kind not in _PLAIN:
            raise TemplateProblem(
                f"{kind} has no place in a value: it takes names and the filters "
                + ", ".join(sorted(_FILTERS)),
                node.lineno,
            )
        if isinstance(node, nodes.Filter) and node.name not in _FILTERS:
            raise TemplateProblem(
                f"there is no filter {node.name!r} in a value; {suggest(node.name, _FILTERS)}",
                node.lineno,
            )


def _line(problem: BaseException) -> int | None:
    trace, line = problem.__traceback__, None
    while trace:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def finding(problem: TemplateProblem, file: str, line: int | None, key: str = "") -> Finding:
    """The complaint about a template that can't be rendered."""
    return Finding("template", f"{key}: {problem}" if key else str(problem), file=file, line=line)


def _git_branch(base: Path) -> str:
    try:
        found = subprocess.run(
            ["git", "-C", str(base), "branch", "--show-current"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip()


class _Reported(TemplateProblem):
    """A setting can't be rendered because of another one, which has a complaint of its own."""


class Values:
    """Renders the values of an environment, once each; settings may name other settings."""

    def __init__(
        self,
        data: Mapping[str, Any],
        names: Mapping[str, Any],
        complain: Callable[[str, Sequence[str | int], str], None],
        defaults: Callable[[str], Mapping[str, Any]],
    ) -> None:
        """`data` is what all layers say, `names` is what `context` gives.

        `complain` gets rule, keys and message. `defaults` knows the defaults of an app.
        """
        self._data = data
        settings = data.get("settings")
        self._given: Mapping[str, Any] = settings if isinstance(settings, dict) else {}
        self.names: Mapping[str, Any] = {**names, "settings": Names("settings", _Settings(self))}
        self._complain = complain
        self._defaults = defaults
        self._app: object = None
        self._open: list[str] = []
        """Settings that are being rendered, each for the one before it."""
        self._done: dict[str, Any] = {}
        self._broken: set[str] = set()

    def rendered(self) -> dict[str, Any]:
        """Every value without placeholders."""
        self._app = self._render(self._data.get("app"), ("app",))
        found = {"app": self._app} if "app" in self._data else {}
        return found | {k: self._render(v, (k,)) for k, v in self._data.items() if k != "app"}

    def defaults(self) -> Mapping[str, Any]:
        """The defaults of the app's settings; none where the app is not known."""
        return self._defaults(self._app) if isinstance(self._app, str) and self._app else {}

    def setting(self, name: str) -> Any:
        """A setting as a placeholder gets it. Raises `KeyError` and `TemplateProblem`."""
        value = self._setting(name) if name in self._given else self.defaults()[name]
        if name in self._broken:
            raise _Reported(f"settings.{name} can't be rendered")
        if value is None:
            raise TemplateProblem(f"settings.{name} has no value")
        if isinstance(value, dict | list):
            kind = "a table" if isinstance(value, dict) else "a list"
            raise TemplateProblem(f"settings.{name} is {kind}, not text or a number")
        return value

    def names_of_settings(self) -> set[str]:
        """Every setting that has a value or could have one."""
        return {*self._given, *self.defaults()}

    def _setting(self, name: str) -> Any:
        if name in self._done:
            return self._done[name]
        if name in self._open:
            circle = [*self._open[self._open.index(name) :], name]
            raise TemplateProblem(
                "goes round in a circle: " + " → ".join(f"settings.{n}" for n in circle)
            )
        self._open.append(name)
        try:
            self._done[name] = self._render(self._given[name], ("settings", name), inside=True)
        finally:
            self._open.pop()
        return self._done[name]

    def _render(self, value: Any, keys: tuple[str | int, ...], *, inside: bool = False) -> Any:
        if keys[0] == "settings" and len(keys) == 2 and keys[1] in self._given and not inside:
            return self._setting(str(keys[1]))
        if isinstance(value, dict):
            for key in filter(is_template, value):
                self._complain("template", (*keys, key), "a key can't have a placeholder in it")
            return {k: self._render(v, (*keys, k), inside=inside) for k, v in value.items()}
        if isinstance(value, list):
            return [self._render(v, (*keys, i), inside=inside) for i, v in enumerate(value)]
        if not isinstance(value, str) or not is_template(value):
            return value
        try:
            text = render(value, self.names, plain=True)
            if len(text) <= MAX_VALUE:
                return Given(text)
            problem = TemplateProblem(f"has more than {MAX_VALUE} characters when it is rendered")
        except TemplateProblem as found:
            problem = found
        if keys[0] == "settings" and len(keys) > 1:
            self._broken.add(str(keys[1]))
        if not isinstance(problem, _Reported):
            self._complain("template", keys, str(problem))
        return value


class _Settings(Mapping[str, Any]):
    """The settings of an environment as placeholders see them."""

    def __init__(self, values: Values) -> None:
        self._of = values

    def __getitem__(self, name: str) -> Any:
        return self._of.setting(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._of.names_of_settings())

    def __len__(self) -> int:
        return len(self._of.names_of_settings())
