"""`{{ … }}` in values and files: sandboxed, strict, with a position for what is unknown."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from deployer.environment.toml import suggest
from deployer.errors import Finding
from deployer.paths import home

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jinja2.sandbox import ImmutableSandboxedEnvironment


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
        "env": Names("env", {"HOME": home(), **os.environ}),
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


def render(text: str, names: Mapping[str, Any]) -> str:
    """Render `text`. Raises `TemplateProblem` naming what is unknown and where."""
    if not is_template(text):
        return text
    from jinja2 import TemplateError, TemplateSyntaxError, UndefinedError

    try:
        template = _jinja().from_string(text)
        return template.render(names)
    except TemplateSyntaxError as problem:
        raise TemplateProblem(f"not a valid template: {problem.message}", problem.lineno) from None
    except UndefinedError as problem:
        raise TemplateProblem(problem.message or str(problem), _line(problem)) from None
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as problem:
        raise TemplateProblem(f"can't be rendered: {problem}", _line(problem)) from None
    except (RecursionError, MemoryError, OverflowError) as problem:
        raise TemplateProblem(f"can't be rendered: {type(problem).__name__}") from None


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
