"""What a hook is called, where it may be written, and how its program is given."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from deployer.environment.toml import suggest
from state.machine import VERBS

ON_CONTROLLER = tuple(
    f"{when}_{verb}" for verb in VERBS if verb != "create" for when in ("before", "after")
)
"""The hooks of an environment file: programs of the operator's, run where deployer runs."""
ON_HOSTS = (
    *("before_release", "after_release", "before_run", "after_run"),
    *("before_stop", "after_stop", "before_clear", "before_destroy"),
)
"""The hooks of an app.toml: they travel with the app, and run on every host in its release."""


def _on_controller(name: str) -> str:
    if name in ON_CONTROLLER:
        return name
    if name in ("before_create", "after_create"):
        raise ValueError("create has no hooks: there is no environment before it")
    raise ValueError(f"there is no such hook; {suggest(name, ON_CONTROLLER)}".rstrip("; "))


def _on_hosts(name: str) -> str:
    if name in ON_HOSTS:
        return name
    if name in ON_CONTROLLER:
        raise ValueError(
            "hosts need not have a release then, to run it in; in the environment file it would "
            "run where deployer runs"
        )
    raise ValueError(f"there is no such hook; {suggest(name, ON_HOSTS)}".rstrip("; "))


def _words(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _word(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain a NUL")
    return str(value)


def _program(words: list[str]) -> list[str]:
    if not words[0]:
        raise ValueError("names no program")
    return words


Program = Annotated[
    list[Annotated[str, AfterValidator(_word)]],
    Field(min_length=1),
    AfterValidator(_program),
    BeforeValidator(_words, json_schema_input_type=str | list[str]),
]
"""A program, or a program and its arguments; no shell."""
ControllerHook = Annotated[str, AfterValidator(_on_controller)]
HostHook = Annotated[str, AfterValidator(_on_hosts)]
