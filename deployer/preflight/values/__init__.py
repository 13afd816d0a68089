"""The value gate: rules over the values inside the user's files. Reads files, nothing else."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from deployer.errors import Finding
from deployer.preflight.values import contents, excuses, readers, relations, shapes
from deployer.preflight.values import files as file_list
from deployer.preflight.values.problem import Problem, unsigned
from deployer.preflight.values.rules import RULES
from deployer.preflight.values.source import Source, Value

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from deployer.environment.load import Loaded
    from deployer.paths import Workspace
    from deployer.preflight.values.files import Files

MAX_FINDINGS = 200
"""Of one file. Who mends the first ones is told of the rest."""

_OF_A_VALUE = (
    *(shapes.url, shapes.cidr, shapes.address, shapes.mode, shapes.port, shapes.duration),
    *(shapes.domain, shapes.cron, contents.placeholder, contents.secret, contents.password),
)
_OF_A_FILE = (relations.duplicate_ports, relations.published_ports, relations.duplicate_domains)


def findings(workspace: Workspace, loaded: Loaded) -> list[Finding]:
    """Everything that is wrong with the values in the files of an environment, by file and line."""
    own = {layer.file.path for layer in loaded.layers.layers if layer.file}
    return examine(file_list.find(workspace, loaded), own)


def examine(files: Files, own: Collection[Path] = ()) -> list[Finding]:
    """Everything that is wrong with the values in files; `own` are deployer's environment files."""
    found = []
    for path, shown in files.readable():
        found += _examined(path, shown, files, path in own)
    if files.too_many:
        message = f"has more than {file_list.MAX_SEEN} files; the rest were not looked at"
        fix = "name what is not part of the deployment in a .deployerignore"
        found.append(Finding("too-large", message, fix, file=files.too_many, level="warning"))
    return found


def _examined(path: Path, shown: str, files: Files, own: bool) -> list[Finding]:
    try:
        if path.stat().st_size > readers.MAX_BYTES:
            message = "is larger than 1 MB, and its values were not looked at"
            fix = "name it in a .deployerignore if it is not part of the deployment"
            return [Finding("too-large", message, fix, file=shown, level=RULES["too-large"].level)]
        source = readers.read(path, shown)
    except OSError as unreadable:
        message = f"can't be read: {unreadable.strerror}"
        return [Finding("syntax", message, file=shown, level=RULES["syntax"].level)]
    written = excuses.read(source.lines)
    excused = {(rule, e.line) for e in written if e.reason for rule in e.rules}
    problems = islice(_problems(source, files, own), MAX_FINDINGS)
    found = [_finding(source, value, problem) for value, problem in problems]
    for line, problem in excuses.problems(written, RULES):
        found.append(_finding(source, Value((), "", line, line), problem))
    kept = (f for f in dict.fromkeys(found) if (f.rule, f.line) not in excused)
    return sorted(kept, key=lambda f: (f.line or 0, f.column or 0, f.rule))


def _problems(source: Source, files: Files, own: bool) -> Iterator[tuple[Value, Problem]]:
    for value in source.values:
        for rule in _OF_A_VALUE:
            for problem in rule(value, source):
                yield value, problem
        if own:
            for problem in contents.variable(value, source):
                yield value, problem
    for of_file in _OF_A_FILE:
        yield from of_file(source)
    yield from relations.missing_paths(source, files)
    if source.problem:
        message, line = source.problem
        yield Value((), "", line, line), Problem("syntax", message, "", "")


def _finding(source: Source, value: Value, problem: Problem) -> Finding:
    line, column = source.place(value, problem.word) if problem.word else (value.line, None)
    return Finding(
        problem.rule,
        _printable(problem.message),
        problem.fix,
        file=source.shown,
        line=line,
        column=column,
        value="***" if problem.secret else _printable(unsigned(problem.word)[:200]) or None,
        level=RULES[problem.rule].level,
    )


def _printable(text: str) -> str:
    """`text` without what a terminal obeys."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
